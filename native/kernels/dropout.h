// Dropout from a counter-based generator: a mask is never stored, it is made again wherever it is needed.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace spa::kernels {

/// What a mask depends on beside the element's place.
struct DropoutKey {
  uint64_t seed = 0;
  uint64_t stream = 0;
  double probability = 0;  // of an element to be left out, in [0, 1)
};

/// x [T, width] with some elements zeroed and the others divided by 1 - probability. Element (i, j) stays or
/// goes by `key`, rows[i] (int64 [T], on x's device, below 2^40) and j alone (Philox counter (rows[i], j / 4;
/// stream)). The gradient is the same function of the gradient. width is below 2^26.
at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const DropoutKey& key);

}  // namespace spa::kernels
