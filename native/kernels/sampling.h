// Picks a token per row of logits.
#pragma once

#include <ATen/ATen.h>

#include "kernels/philox.h"

namespace spa::kernels {

/// Scratch of a thread on the CPU for each vocabulary entry: its probability, and a heap of candidates for
/// top-k and top-p.
constexpr int64_t sampling_floats = 3;

struct SamplingParameters {
  double temperature = 1.0;  // 0: greedy, ties to the lowest id
  int64_t top_k = 0;         // 0: off
  double top_p = 1.0;        // 1: off
  uint64_t seed = 0;
};

struct SampledTokens {
  at::Tensor tokens;  // int32 [rows]
  // float32 [rows], log_softmax(logits / temperature), untruncated; temperature 0: of the logits
  at::Tensor log_probs;
};

/// logits [rows, vocab]; streams int64 [rows] (the bits of the trajectory ids) and positions int64 [rows],
/// both on the CPU. Row r draws philox_uniform(seed, streams[r], positions[r]) and inverts the cumulative
/// distribution in the order of the ids. top-k keeps the k largest logits (ties with the k-th: lowest ids
/// first); top-p then keeps the smallest set of most probable tokens that reaches p. Results on the CPU.
SampledTokens sample(const at::Tensor& logits, const SamplingParameters& parameters,
                     const at::Tensor& streams, const at::Tensor& positions);

}  // namespace spa::kernels
