// How the next token of a row is picked from its logits.
#pragma once

#include <cstdint>

#include "kernels/sampling.h"

namespace spa {

/// temperature 0 is greedy (ties: the lowest id). top_k 0 and top_p 1 switch truncation off: top-k keeps the
/// k largest logits, then top-p the smallest set of the most probable tokens that reaches p.
struct SamplingOptions {
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 1.0;

  /// With the session's seed, as the kernel takes them. The draw for a token is Philox4x32 keyed by (seed,
  /// stream, position of the token in its sequence): neither slot nor batch order changes a sample.
  kernels::SamplingParameters parameters(uint64_t seed) const { return {temperature, top_k, top_p, seed}; }
};

}  // namespace spa
