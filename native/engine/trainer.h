// One optimiser update over a ragged batch: micro-batches inside, gradients exactly those of the whole batch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/long_call.h"
#include "engine/model.h"
#include "engine/optimizer.h"
#include "engine/schedule.h"
#include "engine/train_pass.h"

namespace spa {

struct TrainerOptions {
  AdamWOptions optimizer;
  std::optional<AdamWOptions> critic_optimizer;  // absent: as `optimizer`
  std::optional<double> gradient_clip = 1.0;     // global norm, actor and critic each on its own
  Schedule schedule;                             // of both learning rates
  int64_t micro_batch_tokens = 8192;
  uint64_t dropout_seed =
      0;  // of adapters; masks depend on it, the update and the token's place in the batch
  bool activation_checkpointing = false;  // layers are computed again in the backward pass (Keep::inputs)
  MomentFormat moments = MomentFormat::float32;
};

/// Optimiser state for files (see AdamW::export_state); `critic` is empty without a
/// critic of its own. The tensors are views: write them before the next step.
struct TrainerState {
  int64_t step_count = 0;
  std::vector<NamedTensor> actor;
  std::vector<NamedTensor> critic;
};

class Trainer {
 public:
  /// `critic`: null for none, `actor` itself for a shared backbone, or another model; critics need a value
  /// head.
  Trainer(std::shared_ptr<Model> actor, std::shared_ptr<Model> critic, const TrainerOptions& options);

  /// Throws CAPACITY, NOT_FINITE, ABORTED, OUT_OF_MEMORY; nothing is changed then. When memory
  /// runs out the first time in a step, the gradients so far are dropped, micro-batches are halved for good
  /// and the step begins again: the update is the same up to rounding. Progress counts tokens.
  StepMetrics step(const TrainBatch& batch, const LossOptions& loss, const LongCall& call = {});

  /// Updates so far, critic warm-up included.
  int64_t step_count() const { return step_count_; }
  /// Learning rate of the actor's next update.
  double learning_rate() const {
    return options_.optimizer.learning_rate * options_.schedule.factor(step_count_);
  }

  TrainerState export_state() const;
  /// Throws BAD_CHECKPOINT and changes nothing when names, shapes or values do not fit.
  void import_state(const TrainerState& state);

 private:
  struct Side;  // a model that is trained, its gradients and its optimiser

  /// Throws INTERNAL when a batch is not as lib/engine/train-batch.ts makes them.
  void check(const TrainBatch& batch, const LossOptions& loss) const;
  /// The passes of one step: with a critic of its own there are two; a shared one rides along with the
  /// actor's.
  struct Passes;
  TrainSums run(Side& side, const TrainPass& pass, const LongCall& call, int64_t& done, int64_t total) const;
  /// Gradients of both sides and the step's figures.
  StepMetrics accumulate(const Passes& passes, const LongCall& call);
  /// The same in smaller micro-batches, after memory has run out. Throws OUT_OF_MEMORY when it does again.
  StepMetrics accumulate_again(const Passes& passes, const LongCall& call);
  void release_gradients();

  std::shared_ptr<Side> actor_;
  std::shared_ptr<Side> critic_;  // only a critic of its own
  bool shared_critic_ = false;
  TrainerOptions options_;
  bool halved_ = false;  // memory has run out before
  int64_t step_count_ = 0;
};

}  // namespace spa
