#include "kernels/rms_norm.h"
#include "reference.h"

using namespace spa;
using test::error;

namespace {

at::Tensor plain(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  return x * at::rsqrt(x.square().mean(-1, true) + epsilon) * weight;
}

}  // namespace

TEST_CASE("rms_norm: values and gradients, with and without a gradient past the norm") {
  test::on_each_isa([] {
    for (const auto& [rows, width] :
         {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {40, 64}, {257, 24}, {600, 100}, {0, 64}}) {
      CAPTURE(rows);
      CAPTURE(width);
      const double epsilon = 1e-6;
      const at::Tensor x = test::random({rows, width}, 1);
      const at::Tensor weight = test::random({width}, 3), grad = test::random({rows, width}, 4);
      const at::Tensor grad_sum = test::random({rows, width}, 5);
      const at::Tensor x64 = test::leaf(x), weight64 = test::leaf(weight);
      const at::Tensor expected = plain(x64, weight64, epsilon);
      expected.backward(grad.to(at::kDouble));

      const auto norm = kernels::rms_norm(x, weight, epsilon);
      CHECK(error(norm.output, expected) < 2e-6);

      const at::Tensor start = test::random({width}, 6);
      const at::Tensor grad_weight = start.clone();
      const at::Tensor grad_x =
          kernels::rms_norm_backward(grad, x, weight, norm.inverse_rms, grad_sum, grad_weight);
      CHECK(error(grad_x, x64.grad() + grad_sum) < 1e-5);
      CHECK(error(grad_weight, weight64.grad() + start) < 1e-5);
      const at::Tensor alone = kernels::rms_norm_backward(grad, x, weight, norm.inverse_rms, {}, {});
      CHECK(error(alone, x64.grad()) < 1e-5);
    }
  });
}

TEST_CASE("rms_norm: bfloat16, float64 and more than two dimensions") {
  const at::Tensor x = test::random({4, 3, 32}, 1), weight = test::random({32}, 2);
  const at::Tensor expected = plain(x.to(at::kDouble), weight.to(at::kDouble), 1e-5);
  CHECK(error(kernels::rms_norm(x, weight, 1e-5).output, expected) < 2e-6);
  CHECK(error(kernels::rms_norm(x.to(at::kDouble), weight.to(at::kDouble), 1e-5).output, expected) < 1e-12);
  const auto narrow = kernels::rms_norm(x.to(at::kBFloat16), weight.to(at::kBFloat16), 1e-5);
  CHECK((narrow.output.scalar_type() == at::kBFloat16));
  CHECK(error(narrow.output, expected) < 2e-2);
  CHECK((narrow.inverse_rms.scalar_type() == at::kFloat));
}

TEST_CASE("rms_norm_backward: parts of larger tensors") {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const at::Tensor x = test::random({7, 3, 24}, 1).to(type), weight = test::random({24}, 2).to(type);
    const at::Tensor grad = test::random({7, 3, 24}, 3).to(type);
    const at::Tensor inverse = kernels::rms_norm(x, weight, 1e-6).inverse_rms.view({7, 3});
    const auto column = [](const at::Tensor& all) { return all.select(1, 1); };
    const at::Tensor grad_weight = at::zeros_like(weight), dense_grad_weight = at::zeros_like(weight);
    const at::Tensor part =
        kernels::rms_norm_backward(column(grad), column(x), weight, column(inverse), {}, grad_weight);
    const at::Tensor dense =
        kernels::rms_norm_backward(column(grad).contiguous(), column(x).contiguous(), weight,
                                   column(inverse).contiguous(), {}, dense_grad_weight);
    CHECK(at::equal(part, dense));
    CHECK(at::equal(grad_weight, dense_grad_weight));
  }
}

TEST_CASE("head_norms_: queries and keys of a fused projection, in place, the rest untouched") {
  test::on_each_isa([] {
    for (const int64_t dim : {1, 24, 128}) {
      for (const int64_t tokens : {0, 1, 300}) {
        CAPTURE(dim);
        CAPTURE(tokens);
        const int64_t heads = 4, kv_heads = 2, all = heads + kv_heads;
        const at::Tensor x = test::random({tokens, (all + kv_heads) * dim}, 1);
        const at::Tensor q = test::random({dim}, 2), k = test::random({dim}, 3);
        const at::Tensor v = x.to(at::kDouble).narrow(1, 0, all * dim).reshape({tokens, all, dim});
        const at::Tensor weight =
            at::cat({q.expand({heads, dim}), k.expand({kv_heads, dim})}).to(at::kDouble);
        const at::Tensor expected = plain(v, weight, 1e-6).reshape({tokens, all * dim});
        for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16}) {
          const at::Tensor y = x.to(type, false, true);
          const at::Tensor inverse = kernels::head_norms_(y, heads, kv_heads, q.to(type), k.to(type), 1e-6);
          const double allowed = type == at::kBFloat16 ? 5e-2 : 5e-6;
          CHECK(error(y.narrow(1, 0, all * dim), expected) < allowed);
          CHECK(at::equal(y.narrow(1, all * dim, kv_heads * dim),
                          x.narrow(1, all * dim, kv_heads * dim).to(type)));
          CHECK(error(inverse, at::rsqrt(v.square().mean(-1) + 1e-6)) < (type == at::kBFloat16 ? 1.0 : 1e-4));
        }
      }
    }
  });
}
