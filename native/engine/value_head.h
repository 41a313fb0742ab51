// The critic's last layer: one number per hidden state, always in float32.
#pragma once

#include <ATen/ATen.h>

#include "engine/weights.h"

namespace spa {

/// hidden w^T + b: float32 [T] for hidden [T, hidden].
at::Tensor token_values(const at::Tensor& hidden, const DecoderWeights& weights);

/// d loss / d hidden [T, hidden] in hidden's dtype from d loss / d value, float32 [T]; adds to the value
/// head's `gradients`.
at::Tensor token_values_backward(const at::Tensor& hidden, const DecoderWeights& weights,
                                 const at::Tensor& grad_values, const DecoderWeights& gradients);

}  // namespace spa
