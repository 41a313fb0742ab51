// Causal attention by ATen, of packed sequences and over a cache alike: the float64 reference of the row
// kernels, and what a GPU does without a kernel of its own.
#pragma once

#include <ATen/ATen.h>

#include "kernels/attention.h"

namespace spa::kernels {

/// The queries [heads, n, head_dim] of one sequence, and the keys and values [kv_heads, length, head_dim]
/// behind it: query i sees the first length - n + i + 1 of them. Of one type, float32 or float64.
struct SequenceHeads {
  at::Tensor queries, keys, values;
};

/// Attention of one sequence, [n, heads * head_dim]. Queries are taken some at a time, so that at most
/// attention_scores scores exist. Writes the log-sum-exp of the scaled scores to `log_sum_exp` [heads, n] if
/// that is defined.
at::Tensor aten_attention(const SequenceHeads& sequence, float scale, const at::Tensor& log_sum_exp = {});

/// The gradients of queries, keys and values from that of the output, `grad` [heads, n, head_dim].
SequenceHeads aten_attention_backward(const at::Tensor& grad, const SequenceHeads& sequence, float scale);

/// Bytes that aten_attention takes at most beside its operands, in float32, for `queries` queries at the end
/// of `length` positions; with `gradient` what aten_attention_backward takes.
int64_t aten_attention_bytes(const HeadShape& shape, int64_t queries, int64_t length, bool gradient);

}  // namespace spa::kernels
