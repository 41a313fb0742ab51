// AdamW with moments of eight bits: block-wise dynamic quantisation (Dettmers et al. 2022, arXiv:2110.02861).
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/adamw.h"

namespace spa::kernels {

/// Elements that share a scale.
constexpr int64_t moment_block = 256;

/// The value of element i is map[codes[i]] * scales[i / moment_block].
struct QuantizedMoment {
  at::Tensor codes;   // uint8 [n]
  at::Tensor scales;  // float32 [ceil(n / moment_block)], the largest magnitude of each block
};

/// The dynamic map (ibid., section 2.1): 256 rising values in [-1, 1], or with `is_signed` false in [0, 1].
/// Large values differ by little in proportion, and small ones reach down to 1e-7 of the largest.
const std::array<float, 256>& dynamic_map(bool is_signed);

/// A moment of n zeros.
QuantizedMoment zero_moment(int64_t n, bool is_signed, at::Device device);

/// float32 [n].
at::Tensor dequantize(const QuantizedMoment& moment, bool is_signed);
/// Overwrites `moment` with the codes nearest to `values` float32 [n] (ties: the lower code). What is above
/// zero in an unsigned moment never becomes zero: AdamW divides by it.
void quantize_(const QuantizedMoment& moment, const at::Tensor& values, bool is_signed);

/// As AdamWBuffers, with quantised moments.
struct QuantizedAdamWBuffers {
  at::Tensor parameter, gradient;
  QuantizedMoment first_moment, second_moment;
  at::Tensor master;
};

/// As adamw_: the moments are widened block by block, the update is that of float32 moments, and what it
/// leaves is quantised again. Deterministic. On devices without own kernel some million elements at a time.
void quantized_adamw_(const std::vector<QuantizedAdamWBuffers>& buffers, const AdamWParameters& parameters);

}  // namespace spa::kernels
