// Loss and gradient of some rows of a training batch: forward, losses, backward.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/decoder.h"
#include "engine/losses.h"
#include "engine/packing.h"

namespace spa {

/// All per-token arrays are as long as tokens and aligned with the token that is predicted; optional ones may
/// be empty. Entries of the first token of a row must be unmasked (nothing predicts it).
struct TrainBatch {
  RaggedTokens rows;
  std::span<const uint8_t> mask{};
  // sft: of the tokens in mask; ppo: of those in supervised_mask
  std::span<const float> token_weights{};
  // ppo
  std::span<const float> old_log_probs{};
  std::span<const float> advantages{};
  std::span<const float> reference_log_probs{};  // for the KL penalty
  std::span<const uint8_t> supervised_mask{};    // auxiliary cross-entropy
  std::span<const uint8_t> environment_mask{};   // the same, of what the environment says
  // critic
  std::span<const uint8_t> value_mask{};
  std::span<const float> old_values{};
  std::span<const float> returns{};
};

/// What one pass over a batch with one model computes. Weights are those of the whole batch, so that rows can
/// be run in any split.
struct TrainPass {
  TrainPass(const TrainBatch& train_batch, const LossOptions& loss_options)
      : batch(train_batch), loss(loss_options) {}

  const TrainBatch& batch;
  const LossOptions& loss;
  bool policy = false;                     // sft or ppo terms
  bool value = false;                      // value terms
  bool backbone = true;                    // false: gradients of the value head only
  std::vector<float> policy_weights;       // sft and ppo, [tokens]
  std::vector<float> supervised_weights;   // [tokens], or empty
  std::vector<float> environment_weights;  // [tokens], or empty
  std::vector<float> value_weights;        // [tokens], or empty
  std::vector<int64_t> lengths;            // by row: leading tokens that have to run
  uint64_t dropout_seed = 0, update = 0;   // of an adapter's dropout
  Keep keep = Keep::everything;            // of the forward pass, for the backward pass

  /// Sets `lengths` so that every token with a weight is predicted.
  void trim_rows();
};

/// Sums over tokens; losses are weighted already.
struct TrainSums {
  double sft_loss = 0, sft_tokens = 0;
  PolicyLossSums policy;
  double entropy = 0, entropy_loss = 0;
  double kl = 0, kl_loss = 0;
  double supervised_loss = 0, environment_loss = 0;
  ValueLossSums value;

  void add(const TrainSums& other);
  /// The loss that all of the gradients are of.
  double total(const LossOptions& loss) const;
  /// Everything that `loss` says something about.
  StepMetrics metrics(const TrainBatch& batch, const LossOptions& loss) const;
};

/// Runs `rows` of the batch, adds the gradients of their share of the loss to `gradients` and returns its
/// parts.
TrainSums add_gradients(const TrainPass& pass, std::span<const int64_t> rows, const Decoder& decoder,
                        at::Device device, const DecoderWeights& gradients);

}  // namespace spa
