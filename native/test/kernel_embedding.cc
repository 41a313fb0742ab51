#include "kernels/embedding.h"
#include "reference.h"

using namespace spa;
using test::error;

TEST_CASE("embedding: rows, and the gradient of repeated tokens") {
  test::on_each_isa([] {
    for (const int64_t width : {1, 20, 64, 100}) {
      const at::Tensor weight = test::random({54, width}, 1), grad = test::random({500, width}, 2);
      const at::Tensor tokens = (at::arange(500, at::kLong) * 17).remainder(50);
      CHECK(at::equal(kernels::embedding(weight, tokens), weight.index({tokens})));
      const at::Tensor start = test::random({54, width}, 3), grad_weight = start.clone();
      kernels::accumulate_embedding_gradient(grad, tokens, grad_weight);
      CHECK(error(grad_weight, start.to(at::kDouble).index_add(0, tokens, grad.to(at::kDouble))) < 1e-5);
      const at::Tensor wide = at::zeros({54, width}, at::kDouble);
      kernels::accumulate_embedding_gradient(grad.to(at::kDouble), tokens, wide);
      CHECK(error(wide + start, grad_weight) < 1e-5);
    }
  });
}
