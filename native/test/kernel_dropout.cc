// Dropout masks: the generator's words one by one, on every path.
#include "kernels/dropout.h"
#include "kernels/philox.h"
#include "reference.h"

using namespace spa::kernels;
using namespace spa::test;

namespace {

const DropoutKey key{0x123456789abcdefull, 77, 0.25};

/// Element (row, column) by the generator itself.
float factor(int64_t row, int64_t column) {
  const auto block =
      philox4x32(key.seed, static_cast<uint64_t>(row) << 24 | static_cast<uint64_t>(column / 4), key.stream);
  return block.word[column % 4] >= 0x40000000u ? 1 / 0.75f : 0.0f;
}

}  // namespace

TEST_CASE("dropout keeps what the generator's words say, by row number and column") {
  on_each_isa([] {
    for (const int64_t width : {1, 4, 37, 64, 200}) {
      const at::Tensor x = random({23, width}, 1);
      const at::Tensor rows = at::arange(23) * 1000003 + 5;
      const at::Tensor y = dropout(x, rows, key);
      at::Tensor expected = at::empty_like(x);
      for (int64_t i = 0; i < 23; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          expected[i][j] = x[i][j] * factor(rows[i].item<int64_t>(), j);
        }
      }
      CHECK(y.equal(expected));
      for (const at::ScalarType type : {at::kDouble, at::kBFloat16}) {
        CHECK(error(dropout(x.to(type), rows, key), x.to(type).to(at::kDouble) * (expected / x)) < 4e-3);
      }
      const at::Tensor chosen = at::tensor({7, 3, 3, 22}, at::kLong);
      CHECK(dropout(x.index_select(0, chosen), rows.index_select(0, chosen), key)
                .equal(y.index_select(0, chosen)));
    }
  });
}

TEST_CASE("dropout keeps its share, and other keys keep other elements") {
  const at::Tensor x = at::ones({100, 200}), rows = at::arange(100);
  const at::Tensor y = dropout(x, rows, key);
  CHECK((y > 0).to(at::kDouble).mean().item<double>() == doctest::Approx(0.75).epsilon(0.01));
  CHECK(y.mean().item<double>() == doctest::Approx(1).epsilon(0.02));
  for (const DropoutKey& other : {DropoutKey{1, 77, 0.25}, DropoutKey{key.seed, 78, 0.25}}) {
    const double same = (dropout(x, rows, other) == y).to(at::kDouble).mean().item<double>();
    CHECK(same == doctest::Approx(0.75 * 0.75 + 0.25 * 0.25).epsilon(0.02));
  }
  CHECK(dropout(x, rows, {1, 1, 0}).equal(x));
  CHECK(dropout(at::empty({0, 8}), at::empty({0}, at::kLong), key).numel() == 0);
}
