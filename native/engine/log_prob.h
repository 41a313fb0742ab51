// From hidden states to log-probs and entropies of given tokens, chunk by chunk: [tokens, vocab] never exists as a whole.
#pragma once

#include <ATen/ATen.h>

namespace spa {

struct TokenScores {
  at::Tensor log_probs;  // float32 [T]: log_softmax(logits / temperature) of the targets
  at::Tensor entropy;    // float32 [T] of softmax(logits / temperature); undefined when not asked for
};

/// hidden [T, H], head [vocab, H], targets int64 [T].
TokenScores token_scores(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets,
                         double temperature, bool entropy);

}  // namespace spa
