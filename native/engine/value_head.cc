#include "engine/value_head.h"

namespace spa {

at::Tensor token_values(const at::Tensor& hidden, const DecoderWeights& weights) {
  return at::mv(hidden.to(at::kFloat), weights.value_weight.view({-1}).to(at::kFloat)) +
         weights.value_bias.to(at::kFloat);
}

at::Tensor token_values_backward(const at::Tensor& hidden, const DecoderWeights& weights,
                                 const at::Tensor& grad_values, const DecoderWeights& gradients) {
  gradients.value_weight.view({-1}).add_(at::mv(hidden.to(at::kFloat).t(), grad_values));
  gradients.value_bias.add_(grad_values.sum());
  return at::outer(grad_values, weights.value_weight.view({-1}).to(at::kFloat)).to(hidden.scalar_type());
}

}  // namespace spa
