// Root mean square normalisation (Zhang & Sennrich 2019, arXiv:1910.07467).
#pragma once

#include <ATen/ATen.h>

namespace spa::kernels {

struct RmsNormResult {
  at::Tensor output;       // as x
  at::Tensor inverse_rms;  // float32 [rows], rows = all but x's last dimension; for the gradient
};

/// y = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension. x [..., width], weight [width];
/// float32 inside.
RmsNormResult rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

/// Normalises every head of the queries and keys of a fused projection in place: x [T, >= (heads + kv_heads)
/// * head_dim], queries first; each weight [head_dim]. Returns inverse_rms, float32 [T, heads + kv_heads].
at::Tensor head_norms_(const at::Tensor& x, int64_t heads, int64_t kv_heads, const at::Tensor& query_weight,
                       const at::Tensor& key_weight, double epsilon);

/// d loss / d x, and `grad_sum` (may be undefined), the gradient that reaches x past the norm, added to it.
/// grad_weight [width] (float32, or float64 with float64 operands; may be undefined) is added to, in an order
/// that does not depend on the threads.
at::Tensor rms_norm_backward(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& inverse_rms, const at::Tensor& grad_sum,
                             const at::Tensor& grad_weight);

}  // namespace spa::kernels
