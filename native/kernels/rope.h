// Rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the half-rotation layout of Hugging Face
// and NeoX.
#pragma once

#include <ATen/ATen.h>

namespace spa::kernels {

/// Cosines and sines, float32 [max_positions, head_dim / 2].
struct RopeTables {
  at::Tensor cosine;
  at::Tensor sine;
};

/// Angles position * inverse_frequency[i], computed in double. inverse_frequency: float64 [head_dim / 2] on
/// the CPU.
RopeTables rope_tables(const at::Tensor& inverse_frequency, int64_t max_positions,
                       at::Device device = at::kCPU);

/// Rotates the first `heads` heads of each row of x [tokens, width] in place, width >= heads * head_dim (the
/// q and k part of a fused qkv row). positions: int64 [tokens], below the tables' length. x must be dense in
/// its last dimension.
void rope_(const at::Tensor& x, int64_t heads, int64_t head_dim, const RopeTables& tables,
           const at::Tensor& positions);

/// The gradient: the inverse rotation of x, in place.
void rope_backward_(const at::Tensor& x, int64_t heads, int64_t head_dim, const RopeTables& tables,
                    const at::Tensor& positions);

}  // namespace spa::kernels
