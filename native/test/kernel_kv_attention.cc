#include <cmath>

#include "kernels/kv_attention.h"
#include "reference.h"

using namespace spa;
using test::error;

namespace {

/// A cache whose blocks are handed out in a scattered order and start as NaN.
struct Cache {
  at::Tensor pool, tables;

  Cache(const kernels::HeadShape& s, int64_t slots, int64_t blocks_per_slot, at::ScalarType type) {
    const int64_t blocks = slots * blocks_per_slot;
    pool = at::full({blocks, 3, kernels::kv_block_size(s.kv_heads, s.head_dim)}, NAN,
                    at::TensorOptions().dtype(type))
               .select(1, 1);
    tables =
        (at::arange(blocks, at::kInt) * 7 + 3).remainder(blocks).view({slots, blocks_per_slot}).contiguous();
  }
};

struct Case {
  int64_t heads, kv_heads, head_dim;
};

/// Feeds three sequences in pieces and compares with packed attention over the whole.
double worst_error(const Case& c, at::ScalarType compute, at::ScalarType storage) {
  const kernels::HeadShape shape{c.heads, c.kv_heads, c.head_dim,
                                 1.0f / std::sqrt(static_cast<float>(c.head_dim))};
  const std::vector<std::vector<int64_t>> pieces = {
      {5, 1, 1, 60, 1, 33}, {0, 40, 1, 1, 0, 1}, {31, 1, 1, 1, 64, 1}};
  std::vector<int64_t> lengths;
  for (const auto& row : pieces) lengths.push_back(std::accumulate(row.begin(), row.end(), int64_t{0}));
  const at::Tensor offsets = test::offsets_of(lengths);
  const int64_t tokens = offsets[-1].item<int64_t>();
  const at::Tensor qkv = test::random({tokens, (c.heads + 2 * c.kv_heads) * c.head_dim}, 1);
  const at::Tensor expected = kernels::attention(qkv.to(at::kDouble), shape, offsets).output;
  const Cache cache(shape, 3, 4, storage);
  std::vector<int64_t> held(3, 0);
  double worst = 0;
  for (size_t step = 0; step < pieces[0].size(); ++step) {
    std::vector<at::Tensor> rows, wanted;
    std::vector<int64_t> counts;
    std::vector<int32_t> starts(held.begin(), held.end());
    for (size_t i = 0; i < 3; ++i) {
      const int64_t at = offsets[static_cast<int64_t>(i)].item<int64_t>() + held[i];
      counts.push_back(pieces[i][step]);
      rows.push_back(qkv.narrow(0, at, counts[i]));
      wanted.push_back(expected.narrow(0, at, counts[i]));
      held[i] += counts[i];
    }
    const kernels::KvRows batch{test::offsets_of(counts), test::int32_tensor(starts), cache.tables};
    const at::Tensor result =
        kernels::append_and_attend(at::cat(rows, 0).to(compute), cache.pool, shape, batch);
    worst = std::max(worst, error(result, at::cat(wanted, 0)));
  }
  return worst;
}

}  // namespace

TEST_CASE("kv attention: prefill and decode in pieces equal packed attention") {
  test::on_each_isa([] {
    for (const Case& c : {Case{4, 2, 16},
                          {1, 1, 16},
                          {6, 2, 24},
                          {8, 1, 64},
                          {5, 1, 32},
                          {14, 2, 64},
                          {2, 2, 128},
                          {20, 1, 16},
                          {2, 2, 20}}) {
      CAPTURE(c.heads);
      CAPTURE(c.head_dim);
      CHECK(worst_error(c, at::kFloat, at::kFloat) < 3e-6);
      CHECK(worst_error(c, at::kFloat, at::kBFloat16) < 2e-2);
      CHECK(worst_error(c, at::kBFloat16, at::kBFloat16) < 3e-2);
      CHECK(worst_error(c, at::kDouble, at::kDouble) < 1e-7);
    }
  });
}

TEST_CASE("kv attention: decoding a slot does not depend on the other slots") {
  test::on_each_isa([] {
    const kernels::HeadShape shape{4, 2, 16, 0.25f};
    const at::Tensor qkv = test::random({90, 128}, 1);
    const auto run = [&](bool with_neighbour) {
      const Cache cache(shape, 2, 3, at::kFloat);
      const at::Tensor prefix = qkv.narrow(0, 0, with_neighbour ? 80 : 50);
      const std::vector<int64_t> counts =
          with_neighbour ? std::vector<int64_t>{50, 30} : std::vector<int64_t>{50};
      const int64_t slots = static_cast<int64_t>(counts.size());
      const at::Tensor tables = cache.tables.narrow(0, 0, slots);
      kernels::append_and_attend(prefix, cache.pool, shape,
                                 {test::offsets_of(counts), at::zeros({slots}, at::kInt), tables});
      const std::vector<int64_t> ones(counts.size(), 1);
      const std::vector<int32_t> starts(counts.begin(), counts.end());
      return kernels::append_and_attend(qkv.narrow(0, 85, slots), cache.pool, shape,
                                        {test::offsets_of(ones), test::int32_tensor(starts), tables});
    };
    CHECK(at::equal(run(true).narrow(0, 0, 1), run(false)));
  });
}

TEST_CASE("kv attention: new tokens whose scores are taken in parts by ATen equal the row kernels") {
  const kernels::HeadShape shape{16, 2, 16, 0.25f};
  const int64_t tokens = 1100, held = 70, blocks = 40;
  REQUIRE(shape.heads * tokens * (held + tokens) > kernels::attention_scores);
  const Cache cache(shape, 1, blocks, at::kFloat);
  const at::Tensor prefix = test::random({held, 20 * 16}, 1), qkv = test::random({tokens, 20 * 16}, 2);
  const auto append = [&](const at::Tensor& rows, const at::Tensor& pool, int32_t start) {
    return kernels::append_and_attend(
        rows, pool, shape, {test::offsets_of({rows.size(0)}), test::int32_tensor({start}), cache.tables});
  };
  append(prefix, cache.pool, 0);
  const at::Tensor copy = cache.pool.to(at::kDouble);
  const at::Tensor expected = append(qkv, cache.pool, held);
  CHECK(error(append(qkv.to(at::kDouble), copy, held), expected) < 3e-6);
}
