#include <cmath>

#include "kernels/attention.h"
#include "reference.h"

using namespace spa;
using test::error;

namespace {

/// Plain causal attention of each sequence in the type of qkv, differentiable.
at::Tensor plain(const at::Tensor& qkv, const kernels::HeadShape& s, const std::vector<int64_t>& lengths) {
  std::vector<at::Tensor> outputs;
  int64_t begin = 0;
  for (const int64_t n : lengths) {
    const at::Tensor rows =
        qkv.narrow(0, begin, n).view({n, s.heads + 2 * s.kv_heads, s.head_dim}).transpose(0, 1);
    const int64_t group = s.heads / s.kv_heads;
    const at::Tensor k = rows.narrow(0, s.heads, s.kv_heads).repeat_interleave(group, 0);
    const at::Tensor v = rows.narrow(0, s.heads + s.kv_heads, s.kv_heads).repeat_interleave(group, 0);
    const at::Tensor scores =
        at::matmul(rows.narrow(0, 0, s.heads), k.transpose(1, 2)) * static_cast<double>(s.scale);
    const at::Tensor future = at::ones({n, n}, at::kBool).triu(1);
    const at::Tensor p = at::softmax(scores.masked_fill(future, -INFINITY), 2);
    outputs.push_back(at::matmul(p, v).transpose(0, 1).reshape({n, s.heads * s.head_dim}));
    begin += n;
  }
  return at::cat(outputs, 0);
}

struct Case {
  int64_t heads, kv_heads, head_dim;
  std::vector<int64_t> lengths;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {4, 2, 16, {1, 30, 0, 95, 17}}, {1, 1, 16, {33}},  {4, 2, 16, {300, 5}},
      {6, 2, 24, {40, 64}},           {8, 1, 64, {50}},  {3, 3, 128, {35, 1}},
      {14, 2, 64, {20, 70}},          {2, 2, 20, {270}},
  };
  return all;
}

}  // namespace

TEST_CASE("attention: a sequence whose scores are taken in parts") {
  const kernels::HeadShape shape{16, 2, 8, 0.35f};
  const std::vector<int64_t> lengths = {1100, 3};
  REQUIRE(shape.heads * lengths[0] * lengths[0] > kernels::attention_scores);
  const at::Tensor offsets = test::offsets_of(lengths);
  const at::Tensor qkv = test::random({1103, (16 + 2 * 2) * 8}, 1) * 1.5,
                   grad = test::random({1103, 16 * 8}, 2);
  const auto own = kernels::attention(qkv, shape, offsets);
  const auto parts = kernels::attention(qkv.to(at::kDouble), shape, offsets);
  CHECK(error(own.output, parts.output) < 1e-5);
  CHECK(error(own.log_sum_exp, parts.log_sum_exp) < 1e-5);
  CHECK(error(kernels::attention_backward(grad, qkv, own, shape, offsets),
              kernels::attention_backward(grad.to(at::kDouble), qkv.to(at::kDouble), parts, shape, offsets)) <
        1e-4);
}

TEST_CASE("attention: values and gradients over ragged sequences and grouped heads") {
  test::on_each_isa([] {
    for (const Case& c : cases()) {
      CAPTURE(c.heads);
      CAPTURE(c.head_dim);
      const kernels::HeadShape shape{c.heads, c.kv_heads, c.head_dim,
                                     1.0f / std::sqrt(static_cast<float>(c.head_dim))};
      const at::Tensor offsets = test::offsets_of(c.lengths);
      const int64_t tokens = offsets[-1].item<int64_t>();
      const at::Tensor qkv = test::random({tokens, (c.heads + 2 * c.kv_heads) * c.head_dim}, 1) * 1.5;
      const at::Tensor grad = test::random({tokens, c.heads * c.head_dim}, 2);
      const at::Tensor leaf = test::leaf(qkv);
      const at::Tensor expected = plain(leaf, shape, c.lengths);
      expected.backward(grad.to(at::kDouble));

      const auto result = kernels::attention(qkv, shape, offsets);
      CHECK(error(result.output, expected) < 3e-6);
      CHECK(error(kernels::attention_backward(grad, qkv, result, shape, offsets), leaf.grad()) < 1e-5);

      const auto wide = kernels::attention(qkv.to(at::kDouble), shape, offsets);
      CHECK(error(wide.output, expected) < 1e-7);
      CHECK(error(wide.log_sum_exp, result.log_sum_exp) < 1e-6);
      CHECK(
          error(kernels::attention_backward(grad.to(at::kDouble), qkv.to(at::kDouble), wide, shape, offsets),
                leaf.grad()) < 1e-7);
    }
  });
}

TEST_CASE("attention: large scores, and bfloat16") {
  test::on_each_isa([] {
    const kernels::HeadShape shape{4, 2, 16, 0.25f};
    const std::vector<int64_t> lengths{60, 3};
    const at::Tensor offsets = test::offsets_of(lengths);
    const at::Tensor qkv = test::random({63, 128}, 1) * 30;
    CHECK(error(kernels::attention(qkv, shape, offsets).output, plain(qkv.to(at::kDouble), shape, lengths)) <
          1e-4);
    const at::Tensor small = test::random({63, 128}, 2).to(at::kBFloat16);
    const auto result = kernels::attention(small, shape, offsets);
    CHECK((result.output.scalar_type() == at::kBFloat16));
    CHECK(error(result.output, plain(small.to(at::kDouble), shape, lengths)) < 2e-2);
  });
}

TEST_CASE("attention: a sequence's result does not depend on its neighbours") {
  test::on_each_isa([] {
    const kernels::HeadShape shape{4, 2, 16, 0.25f};
    const at::Tensor qkv = test::random({150, 128}, 1), grad = test::random({150, 64}, 2);
    const at::Tensor offsets = test::offsets_of({40, 77, 33});
    const auto together = kernels::attention(qkv, shape, offsets);
    const at::Tensor gradient = kernels::attention_backward(grad, qkv, together, shape, offsets);
    const at::Tensor single = test::offsets_of({77});
    const auto alone = kernels::attention(qkv.narrow(0, 40, 77), shape, single);
    CHECK(at::equal(alone.output, together.output.narrow(0, 40, 77)));
    CHECK(at::equal(
        kernels::attention_backward(grad.narrow(0, 40, 77), qkv.narrow(0, 40, 77), alone, shape, single),
        gradient.narrow(0, 40, 77)));
  });
}

TEST_CASE("attention: what is not a number reaches later tokens of its sequence and no other token") {
  test::on_each_isa([] {
    const kernels::HeadShape shape{2, 1, 16, 0.25f};
    const at::Tensor qkv = test::random({80, 64}, 1);
    qkv.select(0, 60).select(0, 40).fill_(NAN);  // a key of the second sequence
    const auto result = kernels::attention(qkv, shape, test::offsets_of({40, 40}));
    const at::Tensor finite = at::isfinite(result.output).all(1);
    CHECK(finite.narrow(0, 0, 60).all().item<bool>());
    CHECK_FALSE(finite.narrow(0, 60, 20).any().item<bool>());
  });
}
