// Log-probability and entropy of next tokens from hidden states, without [tokens, vocab] in memory.
#pragma once

#include <ATen/ATen.h>

namespace spa::kernels {

struct TokenLogProbs {
  at::Tensor log_prob;     // float32 [tokens], log_softmax(hidden W^T / temperature) at the target
  at::Tensor entropy;      // float32 [tokens] in nats; undefined when not asked for
  at::Tensor log_sum_exp;  // float32 [tokens]; for the gradient
};

/// Logits that are made at a time on a device: what its products need for speed, a small part of all.
int64_t logits_budget(at::Device device);

/// hidden [tokens, width], weight [vocab, width], targets int64 [tokens]. Logits are made for a chunk of
/// tokens at a time (about `budget` numbers; 0: logits_budget of the device).
TokenLogProbs token_log_probs(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                              double temperature, bool entropy, int64_t budget = 0);

/// Returns d loss / d hidden and adds d loss / d W to grad_weight [vocab, width] (float32; may be undefined),
/// given the gradients of log_prob and of entropy (may be undefined), float32 [tokens]. Logits are recomputed
/// chunk by chunk.
at::Tensor token_log_probs_backward(const at::Tensor& hidden, const at::Tensor& weight,
                                    const at::Tensor& targets, double temperature,
                                    const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                                    const at::Tensor& grad_entropy, const at::Tensor& grad_weight,
                                    int64_t budget = 0);

}  // namespace spa::kernels
