// One optimiser update over a ragged batch: micro-batches inside, gradients exactly those of the whole batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/long_call.h"
#include "engine/losses.h"
#include "engine/model.h"
#include "engine/optimizer.h"
#include "engine/schedule.h"

namespace spa {

struct TrainerOptions {
  AdamWOptions optimizer;
  std::optional<AdamWOptions> critic_optimizer;  // absent: as `optimizer`
  std::optional<double> gradient_clip = 1.0;     // global norm, actor and critic each on its own
  Schedule schedule;                             // of both learning rates
  int64_t micro_batch_tokens = 8192;
};

/// All per-token arrays are as long as tokens and aligned with the token that is predicted; optional ones may be empty. Entries of
/// the first token of a row must be unmasked (nothing predicts it).
struct TrainBatch {
  RaggedTokens rows;
  std::span<const uint8_t> mask;
  // ppo
  std::span<const float> old_log_probs;
  std::span<const float> advantages;
  std::span<const float> reference_log_probs;  // for the KL penalty
  std::span<const uint8_t> supervised_mask;    // auxiliary cross-entropy
  // critic
  std::span<const uint8_t> value_mask;
  std::span<const float> old_values;
  std::span<const float> returns;
};

enum class LossKind { sft, ppo, value };

struct LossOptions {
  LossKind kind = LossKind::sft;
  Aggregation aggregation = Aggregation::token_mean;
  PolicyLossOptions policy;
  double entropy_coefficient = 0.0;
  double kl_coefficient = 0.0;
  KlEstimator kl_estimator = KlEstimator::k3;
  double temperature = 1.0;
  std::optional<double> value_clip = 0.5;
  double value_coefficient = 0.5;
  double supervised_coefficient = 0.0;
};

/// Numbers of one update, before it. What does not apply is NaN (and left out of the result in JavaScript).
struct StepMetrics {
  double loss, gradient_norm, learning_rate;
  double tokens;         // all tokens that went through the model
  double masked_tokens;  // tokens with loss
  double policy_loss, approx_kl, clip_fraction, dual_clip_fraction, entropy, kl, ratio_mean, ratio_max;
  double supervised_loss;
  double value_loss, value_clip_fraction, explained_variance, critic_gradient_norm;
};

/// Optimiser state for files. `actor` and `critic` are float32 CPU tensors named `exp_avg.<parameter>`, `exp_avg_sq.<parameter>` and
/// for bfloat16 models `master.<parameter>`; critic is empty without a model of its own.
struct TrainerState {
  int64_t step_count = 0;
  std::vector<NamedTensor> actor;
  std::vector<NamedTensor> critic;
};

class Trainer {
 public:
  /// `critic`: null for none, `actor` itself for a shared backbone, or another model; critics need a value head (BAD_ARGUMENT).
  Trainer(std::shared_ptr<Model> actor, std::shared_ptr<Model> critic, const TrainerOptions& options);

  /// Throws BAD_ARGUMENT, NOT_FINITE, ABORTED, OUT_OF_MEMORY; nothing is changed then. Progress counts tokens.
  StepMetrics step(const TrainBatch& batch, const LossOptions& loss, const LongCall& call = {});

  int64_t step_count() const { return step_count_; }
  /// Learning rate of the next update.
  double learning_rate() const;

  TrainerState export_state() const;
  /// Throws BAD_CHECKPOINT and changes nothing when names, shapes or values do not fit.
  void import_state(const TrainerState& state);

 private:
  struct Side;  // a model that is trained, its gradient and its optimiser
  std::shared_ptr<Side> actor_, critic_;
  TrainerOptions options_;
  int64_t step_count_ = 0;
};

}  // namespace spa
