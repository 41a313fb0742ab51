// Losses on per-token arrays: values, gradients and metrics. The trainer and the tests call the same
// functions.
//
// Semantics follow verl (main): core_algos.compute_policy_loss, compute_value_loss, agg_loss and kl_penalty.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/loss_options.h"

namespace spa {

/// Figures of one update, before it, under their names in metrics.jsonl (lib/metrics/step-metrics.ts explains
/// each). What does not apply is absent or NaN.
using StepMetrics = std::map<std::string, double>;

/// Weight of every token such that the aggregated loss is sum_k weight[k] * loss[k]; 0 where mask is 0. Rows
/// without a masked token count in no mean. The mask must not be empty.
///
/// `token_weights` (empty: all 1) make every mean over tokens a weighted one: token-mean is
/// sum_k w_k loss_k / sum_k w_k over the masked tokens. They must be above 0 where the mask is not 0.
std::vector<float> aggregation_weights(std::span<const uint8_t> mask, std::span<const uint32_t> offsets,
                                       Aggregation aggregation, std::span<const float> token_weights = {});

/// Aggregated loss of a plain per-token array (the reference for all the others).
double aggregate(std::span<const float> losses, std::span<const uint8_t> mask,
                 std::span<const uint32_t> offsets, Aggregation aggregation);

/// Sums over masked tokens; divide by `tokens` for means.
struct PolicyLossSums {
  double loss = 0;  // already weighted: a sum over micro-batches is the loss of the batch
  double tokens = 0;
  double approx_kl = 0;  // old_log_prob - log_prob
  double clipped = 0;
  double dual_clipped = 0;
  double ratio = 0;
  double ratio_max = 0;

  void add(const PolicyLossSums& other);
  void report(StepMetrics& metrics) const;
};

/// Clipped surrogate with separate lower and upper range and dual clip; log ratios are clamped to +-20.
/// `weights` from aggregation_weights over the whole batch. Adds d loss / d log_prob to `gradient` (same
/// length).
PolicyLossSums policy_loss(std::span<const float> log_probs, std::span<const float> old_log_probs,
                           std::span<const float> advantages, std::span<const uint8_t> mask,
                           std::span<const float> weights, const LossOptions& options,
                           std::span<float> gradient);

/// KL penalty of one token and its derivative by log_prob. k3 is Schulman's low-variance estimator with
/// verl's clamps (log ratio to
/// +-20, value to +-10; the gradient is zero where the value is clamped).
struct KlValue {
  float value;
  float derivative;
};
KlValue kl_penalty(float log_prob, float reference_log_prob, KlEstimator estimator);

/// Sums over masked tokens of the weighted value loss 0.5 * max((v - R)^2, (clip(v) - R)^2).
struct ValueLossSums {
  double loss = 0;
  double tokens = 0;
  double clipped = 0;
  // Moments for explained variance, 1 - Var(R - V) / Var(R).
  double returns = 0, returns_squared = 0, residual = 0, residual_squared = 0;

  void add(const ValueLossSums& other);
  void report(StepMetrics& metrics) const;
  double explained_variance() const;
};

/// `clip` absent: no clipping. Adds d loss / d value to `gradient`.
ValueLossSums value_loss(std::span<const float> values, std::span<const float> old_values,
                         std::span<const float> returns, std::span<const uint8_t> mask,
                         std::span<const float> weights, std::optional<double> clip,
                         std::span<float> gradient);

}  // namespace spa
