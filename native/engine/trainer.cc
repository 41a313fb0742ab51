#include "engine/trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "engine/error.h"
#include "engine/memory.h"
#include "engine/parallel.h"
#include "kernels/adamw.h"

namespace spa {
namespace {

// Parameter groups of a side's optimiser.
constexpr size_t backbone_group = 0, value_group = 1;

void require_finite(double value, const char* what) {
  if (std::isfinite(value)) return;
  throw Error("NOT_FINITE",
              std::string("the ") + what + " is " + (std::isnan(value) ? "NaN" : "infinite") +
                  "; weights and optimiser are as before this step",
              "lower the learning rate or look for NaN in advantages, returns or old log-probs");
}

}  // namespace

struct Trainer::Side {
  std::shared_ptr<Model> model;
  AdamW optimizer;
  std::vector<at::Tensor> gradients;  // float32 flat buffers, one per part of a parallel region
  std::vector<DecoderWeights> views;  // of `gradients`
  std::vector<size_t> groups;         // that this step updates
  uint64_t version;                   // of the model's weights after our last update

  Side(std::shared_ptr<Model> trained, const AdamWOptions& options,
       std::vector<ParameterGroup> parameter_groups, MomentFormat moments)
      : model(std::move(trained)),
        optimizer(model->flat(), options, std::move(parameter_groups), moments),
        version(model->version()) {}

  /// Zeroed gradient buffers for `parts` threads.
  void reserve_gradients(int64_t parts) {
    while (static_cast<int64_t>(gradients.size()) < parts) {
      gradients.push_back(at::zeros({model->layout().size()}, model->flat().options().dtype(at::kFloat)));
      views.push_back(model->layout().views(gradients.back()));
    }
  }

  void release_gradients() {
    gradients.clear();
    views.clear();
  }

  /// The sum of all parts' gradients, in the first buffer; the order of additions is fixed.
  const at::Tensor& reduce() {
    for (size_t part = 1; part < gradients.size(); ++part) gradients[0].add_(gradients[part]);
    return gradients[0];
  }

  double gradient_norm() {
    const double norm = std::sqrt(kernels::squared_norm(optimizer.select(reduce(), groups)));
    require_finite(norm, "gradient norm");
    return norm;
  }

  void update(double rate, double norm, std::optional<double> clip) {
    if (model->version() != version) optimizer.reset_master(model->flat());
    // As torch.nn.utils.clip_grad_norm_.
    const double scale = clip ? std::min(1.0, *clip / (norm + 1e-6)) : 1.0;
    optimizer.step(model->flat(), gradients[0], groups, rate, scale);
    model->mark_changed();
    version = model->version();
  }
};

Trainer::Trainer(std::shared_ptr<Model> actor, std::shared_ptr<Model> critic, const TrainerOptions& options)
    : shared_critic_(critic && critic == actor), options_(options) {
  require(!critic || critic->has_value_head(), "a critic has a value head");
  const auto value_range = [](const Model& model) {
    return ParameterRange{model.layout().backbone_size(), model.layout().size()};
  };
  std::vector<ParameterGroup> groups = {{{{0, actor->layout().backbone_size()}}, 0}};
  if (shared_critic_) groups.push_back({{value_range(*actor)}, 0});
  actor_ = std::make_shared<Side>(actor, options_.optimizer, groups, options_.moments);
  if (critic && !shared_critic_) {
    critic_ = std::make_shared<Side>(
        critic, options_.critic_optimizer.value_or(options_.optimizer),
        std::vector<ParameterGroup>{{critic->layout().ranges_without_head(), 0}, {{value_range(*critic)}, 0}},
        options_.moments);
  }
}

void Trainer::check(const TrainBatch& batch, const LossOptions& loss) const {
  batch.rows.validate(actor_->model->config().vocab);
  if (critic_) batch.rows.validate(critic_->model->config().vocab);
  const bool ppo = loss.kind == LossKind::ppo, value = !batch.value_mask.empty();
  const auto fits = [&](auto array, bool needed) {
    return array.size() == batch.rows.tokens.size() || (array.empty() && !needed);
  };
  const auto spares_first_tokens = [&](std::span<const uint8_t> mask) {
    for (int64_t row = 0; !mask.empty() && row < batch.rows.rows(); ++row) {
      if (batch.rows.length(row) > 0 && mask[batch.rows.offsets[row]] != 0) return false;
    }
    return true;
  };
  const bool valid = fits(batch.mask, loss.kind != LossKind::value) && fits(batch.old_log_probs, ppo) &&
                     fits(batch.advantages, ppo) &&
                     fits(batch.reference_log_probs, ppo && loss.kl_coefficient != 0) &&
                     fits(batch.token_weights, false) &&
                     fits(batch.supervised_mask, ppo && loss.supervised_coefficient != 0) &&
                     fits(batch.environment_mask, ppo && loss.environment_coefficient != 0) &&
                     fits(batch.value_mask, loss.kind == LossKind::value) && fits(batch.old_values, value) &&
                     fits(batch.returns, value) && (!value || critic_ || shared_critic_) &&
                     spares_first_tokens(batch.mask) && spares_first_tokens(batch.supervised_mask) &&
                     spares_first_tokens(batch.environment_mask) && spares_first_tokens(batch.value_mask);
  require(valid, "a training batch fits its loss");
}

TrainSums Trainer::run(Side& side, const TrainPass& planned, const LongCall& call, int64_t& done,
                       int64_t total) const {
  const Model& model = *side.model;
  TrainPass pass = planned;
  const bool small = runs_side_by_side(model.config(), model.device());
  pass.keep = options_.activation_checkpointing ? Keep::inputs : small ? Keep::everything : Keep::products;
  const int64_t longest =
      pass.lengths.empty() ? 0 : *std::max_element(pass.lengths.begin(), pass.lengths.end());
  require(longest < model.config().max_positions, "a row fits the model's positions");
  const Decoder& decoder = side.model->decoder(longest + 1);
  for (const at::Tensor& buffer : side.gradients) buffer.zero_();
  side.reserve_gradients(1);

  TrainSums sums;
  std::vector<int64_t> rows(pass.lengths.size());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  for (const auto& micro_batch : micro_batches(rows, pass.lengths, options_.micro_batch_tokens)) {
    call.check();
    const ShardPlan plan = shard_rows(model.config(), model.device(), micro_batch, pass.lengths);
    const auto parts = static_cast<int64_t>(plan.parts.size());
    side.reserve_gradients(parts);
    std::vector<TrainSums> part_sums(parts);
    parallel_parts(parts, [&](int64_t part) {
      for (const auto& chunk : plan.parts[part]) {
        part_sums[part].add(add_gradients(pass, chunk, decoder, model.device(), side.views[part]));
      }
    });
    for (const TrainSums& part : part_sums) sums.add(part);
    for (const int64_t row : micro_batch) done += pass.lengths[row];
    call.report(done, total);
  }
  return sums;
}

struct Trainer::Passes {
  const TrainBatch& batch;
  const LossOptions& loss;
  TrainPass actor, critic;
  bool run_actor = false, run_critic = false;

  Passes(const TrainBatch& train_batch, const LossOptions& loss_options, bool shared_critic, bool own_critic)
      : batch(train_batch), loss(loss_options), actor{batch, loss}, critic{batch, loss} {
    critic.value = true;
    const bool policy = loss.kind != LossKind::value;
    const bool value = loss.kind != LossKind::sft && !batch.value_mask.empty();
    const auto offsets = batch.rows.offsets;
    actor.policy = actor.backbone = policy;
    actor.value = value && shared_critic;
    const bool sft = loss.kind == LossKind::sft;
    if (policy) {
      actor.policy_weights = aggregation_weights(batch.mask, offsets, loss.aggregation,
                                                 sft ? batch.token_weights : std::span<const float>{});
    }
    // A small batch may well hold no token for an auxiliary loss.
    const auto auxiliary = [&](std::span<const uint8_t> mask, double coefficient,
                               std::span<const float> token_weights) -> std::vector<float> {
      const bool any = std::any_of(mask.begin(), mask.end(), [](uint8_t entry) { return entry != 0; });
      if (loss.kind != LossKind::ppo || coefficient == 0 || !any) return {};
      return aggregation_weights(mask, offsets, Aggregation::token_mean, token_weights);
    };
    actor.supervised_weights =
        auxiliary(batch.supervised_mask, loss.supervised_coefficient, batch.token_weights);
    actor.environment_weights = auxiliary(batch.environment_mask, loss.environment_coefficient, {});
    if (value) {
      auto& weights = shared_critic ? actor.value_weights : critic.value_weights;
      weights = aggregation_weights(batch.value_mask, offsets, Aggregation::token_mean);
    }
    run_actor = actor.policy || actor.value;
    run_critic = value && own_critic;
    actor.trim_rows();
    critic.trim_rows();
  }

  int64_t tokens() const {
    int64_t sum = 0;
    for (const TrainPass* pass : {&actor, &critic}) {
      sum += std::accumulate(pass->lengths.begin(), pass->lengths.end(), int64_t{0});
    }
    return sum;
  }

  /// Of the largest micro-batch, when at most `budget` are allowed.
  int64_t largest_micro_batch(int64_t budget) const {
    int64_t largest = 1;
    for (const TrainPass* pass : {&actor, &critic}) {
      std::vector<int64_t> rows(pass->lengths.size());
      std::iota(rows.begin(), rows.end(), int64_t{0});
      for (const auto& micro_batch : micro_batches(rows, pass->lengths, budget)) {
        int64_t tokens = 0;
        for (const int64_t row : micro_batch) tokens += pass->lengths[row];
        largest = std::max(largest, tokens);
      }
    }
    return largest;
  }
};

StepMetrics Trainer::accumulate(const Passes& passes, const LongCall& call) {
  int64_t done = 0;
  const int64_t total = passes.tokens();
  TrainSums sums;
  if (passes.run_actor) sums.add(run(*actor_, passes.actor, call, done, total));
  if (passes.run_critic) sums.add(run(*critic_, passes.critic, call, done, total));
  StepMetrics result = sums.metrics(passes.batch, passes.loss);
  require_finite(result["loss"], "loss");
  if (passes.run_actor) {
    actor_->groups.clear();
    if (passes.actor.policy) actor_->groups.push_back(backbone_group);
    if (passes.actor.value) actor_->groups.push_back(value_group);
    result["grad_norm"] = actor_->gradient_norm();
  }
  if (passes.run_critic) {
    critic_->groups = {backbone_group, value_group};
    result["critic_grad_norm"] = critic_->gradient_norm();
    if (!passes.run_actor) result["grad_norm"] = result["critic_grad_norm"];
  }
  return result;
}

StepMetrics Trainer::accumulate_again(const Passes& passes, const LongCall& call) {
  release_gradients();
  release_cached_memory(actor_->model->device());
  // A micro-batch may be much smaller than it might be: half of that is less.
  options_.micro_batch_tokens =
      std::max<int64_t>(1, passes.largest_micro_batch(options_.micro_batch_tokens) / 2);
  halved_ = true;
  try {
    return accumulate(passes, call);
  } catch (...) {
    const auto failure = std::current_exception();
    release_gradients();
    if (!is_out_of_memory(failure)) throw;
    throw Error(
        "OUT_OF_MEMORY",
        "there is not enough memory for this step, not even in micro-batches of " +
            std::to_string(options_.micro_batch_tokens) + " tokens: " + first_line_of(failure) +
            "; weights and optimiser are as before this step",
        "lower engine.microBatchTokens, turn on activation checkpointing or int8 moments "
        "(engine.activationCheckpointing, engine.moments), shorten rows, or train a smaller model or with "
        "LoRA; spa plan says what fits");
  }
}

void Trainer::release_gradients() {
  for (const auto& side : {actor_, critic_}) {
    if (side) side->release_gradients();
  }
}

StepMetrics Trainer::step(const TrainBatch& batch, const LossOptions& loss, const LongCall& call) {
  check(batch, loss);
  Passes passes(batch, loss, shared_critic_, critic_ != nullptr);
  passes.actor.dropout_seed = options_.dropout_seed;
  passes.critic.dropout_seed = options_.dropout_seed + 1;
  passes.actor.update = passes.critic.update = static_cast<uint64_t>(step_count_);
  std::optional<StepMetrics> accumulated;
  try {
    accumulated = accumulate(passes, call);
  } catch (...) {
    if (!is_out_of_memory(std::current_exception())) throw;
  }
  StepMetrics result = accumulated ? *accumulated : accumulate_again(passes, call);
  if (halved_) result["micro_batch_tokens"] = static_cast<double>(options_.micro_batch_tokens);
  call.check();

  const double factor = options_.schedule.factor(step_count_);
  if (passes.run_actor) {
    const double rate = options_.optimizer.learning_rate * factor;
    result["learning_rate"] = rate;
    actor_->update(rate, result["grad_norm"], options_.gradient_clip);
  }
  if (passes.run_critic) {
    const double rate = critic_->optimizer.options().learning_rate * factor;
    if (!passes.run_actor) result["learning_rate"] = rate;
    critic_->update(rate, result["critic_grad_norm"], options_.gradient_clip);
  }
  ++step_count_;
  // Sampling between the steps has better use for the memory of large gradients; small ones are needed soon.
  if (!runs_side_by_side(actor_->model->config(), actor_->model->device())) release_gradients();
  return result;
}

TrainerState Trainer::export_state() const {
  TrainerState state;
  state.step_count = step_count_;
  state.actor = actor_->optimizer.export_state(actor_->model->layout());
  if (critic_) state.critic = critic_->optimizer.export_state(critic_->model->layout());
  return state;
}

void Trainer::import_state(const TrainerState& state) {
  if (state.step_count < 0) throw Error("BAD_CHECKPOINT", "the trainer state's step count is negative");
  if (!critic_ && !state.critic.empty()) {
    throw Error("BAD_CHECKPOINT",
                "the trainer state has a critic's optimiser, the trainer has no critic of its own");
  }
  actor_->optimizer.check_state(actor_->model->layout(), state.actor);
  if (critic_) critic_->optimizer.check_state(critic_->model->layout(), state.critic);
  actor_->optimizer.import_state(actor_->model->layout(), state.actor);
  if (critic_) critic_->optimizer.import_state(critic_->model->layout(), state.critic);
  // The weights on hand belong to the state's master weights.
  actor_->version = actor_->model->version();
  if (critic_) critic_->version = critic_->model->version();
  step_count_ = state.step_count;
}

}  // namespace spa
