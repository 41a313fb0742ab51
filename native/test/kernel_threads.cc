// Results must not depend on the number of threads.
#include <ATen/Parallel.h>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/embedding.h"
#include "kernels/kv_attention.h"
#include "kernels/linear.h"
#include "kernels/log_prob.h"
#include "kernels/rms_norm.h"
#include "kernels/sampling.h"
#include "kernels/swiglu.h"
#include "reference.h"

using namespace spa;

namespace {

/// Everything that runs in parallel, on sizes that are large enough to be shared out.
std::vector<at::Tensor> run_all() {
  std::vector<at::Tensor> results;
  const auto keep = [&](const at::Tensor& x) { results.push_back(x); };
  const int64_t rows = 3001;
  const at::Tensor x = test::random({rows, 64}, 1), weight = test::random({350, 64}, 2);
  const at::Tensor grad = test::random({rows, 350}, 3);
  keep(kernels::linear(x, weight));
  keep(kernels::linear_input_gradient(grad, weight));
  const at::Tensor grad_weight = at::zeros({350, 64}), grad_bias = at::zeros({350});
  kernels::accumulate_linear_gradient(grad, x, grad_weight, grad_bias);
  keep(grad_weight);
  keep(grad_bias);

  const at::Tensor norm_weight = test::random({64}, 4), grad_norm_weight = at::zeros({64});
  const auto norm = kernels::rms_norm(x, norm_weight, 1e-6);
  keep(norm.output);
  keep(kernels::rms_norm_backward(x, x, norm_weight, norm.inverse_rms, {}, grad_norm_weight));
  keep(grad_norm_weight);
  keep(kernels::swiglu(grad));

  const kernels::HeadShape shape{4, 2, 16, 0.25f};
  const at::Tensor offsets = test::offsets_of({700, 1, 0, 1500, 300, 500});
  const at::Tensor qkv = test::random({rows, 128}, 5);
  const auto attended = kernels::attention(qkv, shape, offsets);
  keep(attended.output);
  keep(kernels::attention_backward(x, qkv, attended, shape, offsets));
  const at::Tensor pool = at::zeros({200, kernels::kv_block_size(2, 16)});
  const at::Tensor tables = at::arange(200, at::kInt).view({4, 50});
  keep(kernels::append_and_attend(
      qkv, pool, shape, {test::offsets_of({1000, 1500, 500, 1}), at::zeros({4}, at::kInt), tables}));

  const at::Tensor tokens = (at::arange(rows, at::kLong) * 31).remainder(350);
  const auto scores = kernels::token_log_probs(x, weight, tokens, 1.0, true);
  const at::Tensor grad_head = at::zeros_like(weight), ones = at::ones({rows});
  keep(scores.log_prob);
  keep(kernels::token_log_probs_backward(x, weight, tokens, 1.0, scores, ones, ones, grad_head));
  keep(grad_head);
  keep(kernels::embedding(weight, tokens));
  const at::Tensor grad_table = at::zeros_like(weight);
  kernels::accumulate_embedding_gradient(x, tokens, grad_table);
  keep(grad_table);
  keep(kernels::sample(grad, {}, tokens, tokens).tokens);

  const at::Tensor flat = test::random({400000}, 6);
  const kernels::AdamWBuffers buffers{flat.clone(), flat, at::zeros_like(flat), at::zeros_like(flat), {}};
  kernels::adamw_({buffers}, {});
  keep(buffers.parameter);
  keep(at::scalar_tensor(kernels::squared_norm({flat}), at::kDouble));
  return results;
}

}  // namespace

TEST_CASE("threads: one, two and three give the same bits") {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto expected = run_all();
  for (const int threads : {2, 3}) {
    CAPTURE(threads);
    at::set_num_threads(threads);
    const auto actual = run_all();
    for (size_t i = 0; i < expected.size(); ++i) {
      CAPTURE(i);
      CHECK(at::equal(actual[i], expected[i]));
    }
  }
  at::set_num_threads(before);
}
