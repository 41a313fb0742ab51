// Causal attention over packed sequences of different lengths, with grouped KV heads. No padding, and no
// [length, length] matrix in memory.
#pragma once

#include <ATen/ATen.h>

#include "kernels/cpu/table.h"

namespace spa::kernels {

/// Heads of a fused qkv row [(heads + 2 * kv_heads) * head_dim]: q heads, k heads, v heads.
using cpu::HeadShape;

/// Scores that exist at a time where ATen computes attention (on a GPU): queries are taken some at a time.
constexpr int64_t attention_scores = int64_t{1} << 24;

struct AttentionResult {
  at::Tensor output;       // [tokens, heads * head_dim]
  at::Tensor log_sum_exp;  // float32 [heads, tokens], of the scaled scores; for the gradient
};

/// Attention of each sequence on itself. qkv [tokens, (heads + 2 * kv_heads) * head_dim] (rotated already);
/// offsets int32 [sequences + 1] on the CPU. Empty sequences are fine. Work grows with the sum of length^2
/// / 2.
AttentionResult attention(const at::Tensor& qkv, const HeadShape& shape, const at::Tensor& offsets);

/// d loss / d qkv [tokens, (heads + 2 * kv_heads) * head_dim] from grad [tokens, heads * head_dim].
at::Tensor attention_backward(const at::Tensor& grad, const at::Tensor& qkv, const AttentionResult& forward,
                              const HeadShape& shape, const at::Tensor& offsets);

}  // namespace spa::kernels
