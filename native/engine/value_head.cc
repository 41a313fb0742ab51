#include "engine/value_head.h"

#include "kernels/linear.h"

namespace spa {

at::Tensor token_values(const at::Tensor& hidden, const DecoderWeights& weights) {
  return kernels::linear(hidden.to(at::kFloat), weights.value_weight.to(at::kFloat),
                         weights.value_bias.to(at::kFloat))
      .view({-1});
}

at::Tensor token_values_backward(const at::Tensor& hidden, const DecoderWeights& weights,
                                 const at::Tensor& grad_values, const DecoderWeights& gradients) {
  const at::Tensor grad = grad_values.unsqueeze(1);
  kernels::accumulate_linear_gradient(grad, hidden.to(at::kFloat), gradients.value_weight,
                                      gradients.value_bias);
  return kernels::linear_input_gradient(grad, weights.value_weight.to(at::kFloat)).to(hidden.scalar_type());
}

}  // namespace spa
