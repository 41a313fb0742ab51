// Picks the next token of a row from its logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace spa {

/// temperature 0 is greedy (ties: the lowest id). top_k 0 and top_p 1 switch truncation off.
struct SamplingOptions {
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 1.0;

  /// Throws BAD_ARGUMENT.
  void validate() const;
};

struct SampledToken {
  int32_t token = 0;
  float log_prob = 0;  // log_softmax(logits / temperature) of the token, untruncated; at temperature 0 of the logits as they are
};

/// Uniform in [0, 1) with 24 bits from Philox4x32-10 (Salmon et al. 2011) with key `seed` and counter (stream, position): the
/// draw depends on nothing else, so neither slot nor batch order changes a sample.
float philox_uniform(uint64_t seed, uint64_t stream, uint64_t position);

/// Samples one row of `vocab` logits. `position` is the index of the new token in its sequence.
SampledToken sample_row(std::span<const float> logits, const SamplingOptions& options, uint64_t seed, uint64_t stream,
                        uint64_t position);

}  // namespace spa
