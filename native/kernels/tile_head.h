// Log-probs of tokens and their gradient on the tile registers of AMX: logits are used up block by block,
// where they are made.
#pragma once

#include "kernels/log_prob.h"

namespace spa::kernels {

/// Vocabulary entries whose gradient exists at a time, and tokens: 2048 of both make 8 MB in bfloat16, twice.
constexpr int64_t tile_head_rows = 2048;
constexpr int64_t tile_head_tokens = 2048;

/// token_log_probs for operands of Product::tiles.
TokenLogProbs tile_log_probs(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                             double temperature, bool entropy);

/// token_log_probs_backward for operands of Product::tiles.
at::Tensor tile_log_probs_backward(const at::Tensor& hidden, const at::Tensor& weight,
                                   const at::Tensor& targets, double temperature,
                                   const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                                   const at::Tensor& grad_entropy, const at::Tensor& grad_weight);

}  // namespace spa::kernels
