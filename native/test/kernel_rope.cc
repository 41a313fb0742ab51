#include <cmath>

#include "kernels/rope.h"
#include "reference.h"

using namespace spa;
using test::error;

namespace {

/// Hugging Face's rotate_half, in float64.
at::Tensor plain(const at::Tensor& x, int64_t heads, int64_t head_dim, const at::Tensor& frequency,
                 const at::Tensor& positions) {
  const at::Tensor half_angles = positions.to(at::kDouble).unsqueeze(1) * frequency;
  const at::Tensor angles = at::cat({half_angles, half_angles}, 1).unsqueeze(1);
  const at::Tensor view = x.narrow(1, 0, heads * head_dim).view({-1, heads, head_dim}).to(at::kDouble);
  const at::Tensor rotated =
      at::cat({-view.narrow(2, head_dim / 2, head_dim / 2), view.narrow(2, 0, head_dim / 2)}, 2);
  const at::Tensor result = (view * angles.cos() + rotated * angles.sin()).reshape({x.size(0), -1});
  return at::cat({result, x.narrow(1, heads * head_dim, x.size(1) - heads * head_dim).to(at::kDouble)}, 1);
}

at::Tensor frequencies(int64_t head_dim) {
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::TensorOptions().dtype(at::kDouble)) / head_dim;
  return at::pow(10000.0, exponents).reciprocal();
}

}  // namespace

TEST_CASE("rope: rotates the first heads of a row, and back") {
  test::on_each_isa([] {
    for (const int64_t head_dim : {2, 6, 16, 24, 64, 128}) {
      CAPTURE(head_dim);
      const int64_t heads = 3, tokens = 37;
      const at::Tensor frequency = frequencies(head_dim);
      const auto tables = kernels::rope_tables(frequency, 500);
      const at::Tensor positions = at::arange(tokens, at::kLong) * 13;
      const at::Tensor x = test::random({tokens, (heads + 2) * head_dim}, 1);
      const at::Tensor expected = plain(x, heads, head_dim, frequency, positions);
      const at::Tensor rotated = x.clone();
      kernels::rope_(rotated, heads, head_dim, tables, positions);
      CHECK(error(rotated, expected) < 1e-6);
      kernels::rope_backward_(rotated, heads, head_dim, tables, positions);
      CHECK(error(rotated, x) < 1e-6);
      for (const auto type : {at::kDouble, at::kBFloat16}) {
        const at::Tensor other = x.to(type);
        kernels::rope_(other, heads, head_dim, tables, positions);
        CHECK(error(other, expected) < (type == at::kDouble ? 1e-6 : 2e-2));
      }
    }
  });
}
