// Linear layers in bfloat16 on the tile registers of AMX: products with float32 sums that no one rounds
// before bias and residual are added, and weight gradients that are added in float32.
#pragma once

#include <ATen/ATen.h>

#include "kernels/amx/gemm.h"

namespace spa::kernels {

/// Depth of a gradient's product that is done at a time: rows of both sides then fit the second-level cache.
constexpr int64_t tile_depth = 76 * amx::block;

/// x [rows, in] W^T (+ bias [out]) (+ add [rows, out]) as `type`: bfloat16, or float32 (bias and add
/// undefined). Rows have unit stride in their last dimension.
at::Tensor tile_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       const at::Tensor& add, at::ScalarType type);

/// grad [rows, out] W, bfloat16.
at::Tensor tile_input_gradient(const at::Tensor& grad, const at::Tensor& weight);

/// grad_weight [out, in] (float32, dense) += grad^T x.
void tile_weight_gradient(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& grad_weight);

}  // namespace spa::kernels
