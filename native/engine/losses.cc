#include "engine/losses.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/error.h"

namespace spa {
namespace {

constexpr float max_log_ratio = 20.0f;  // verl's clamp; exp(20) still fits float32

}  // namespace

std::vector<float> aggregation_weights(std::span<const uint8_t> mask, std::span<const uint32_t> offsets,
                                       Aggregation aggregation, std::span<const float> token_weights) {
  const size_t rows = offsets.empty() ? 0 : offsets.size() - 1;
  const auto weight_of = [&](uint32_t k) -> double {
    return mask[k] == 0 ? 0 : token_weights.empty() ? 1 : token_weights[k];
  };
  std::vector<double> row_tokens(rows, 0);
  double tokens = 0, rows_with_tokens = 0;
  for (size_t row = 0; row < rows; ++row) {
    for (uint32_t k = offsets[row]; k < offsets[row + 1]; ++k) row_tokens[row] += weight_of(k);
    tokens += row_tokens[row];
    rows_with_tokens += row_tokens[row] > 0;
  }
  if (tokens == 0) throw Error("INTERNAL", "the mask selects no token");
  std::vector<float> weights(mask.size(), 0.0f);
  for (size_t row = 0; row < rows; ++row) {
    double weight = 0;
    switch (aggregation) {
      case Aggregation::token_mean:
        weight = 1.0 / tokens;
        break;
      case Aggregation::seq_mean_token_mean:
        weight = 1.0 / (row_tokens[row] * rows_with_tokens);
        break;
      case Aggregation::seq_mean_token_sum:
        weight = 1.0 / rows_with_tokens;
        break;
    }
    for (uint32_t k = offsets[row]; k < offsets[row + 1]; ++k) {
      if (mask[k] != 0) weights[k] = static_cast<float>(weight * weight_of(k));
    }
  }
  return weights;
}

double aggregate(std::span<const float> losses, std::span<const uint8_t> mask,
                 std::span<const uint32_t> offsets, Aggregation aggregation) {
  const auto weights = aggregation_weights(mask, offsets, aggregation);
  double total = 0;
  for (size_t k = 0; k < losses.size(); ++k) {
    if (mask[k] != 0) total += static_cast<double>(weights[k]) * losses[k];
  }
  return total;
}

void PolicyLossSums::add(const PolicyLossSums& other) {
  loss += other.loss;
  tokens += other.tokens;
  approx_kl += other.approx_kl;
  clipped += other.clipped;
  dual_clipped += other.dual_clipped;
  ratio += other.ratio;
  ratio_max = std::max(ratio_max, other.ratio_max);
}

void PolicyLossSums::report(StepMetrics& metrics) const {
  metrics["policy_loss"] = loss;
  metrics["approx_kl"] = approx_kl / tokens;
  metrics["clip_fraction"] = clipped / tokens;
  metrics["dual_clip_fraction"] = dual_clipped / tokens;
  metrics["ratio_mean"] = ratio / tokens;
  metrics["ratio_max"] = ratio_max;
}

PolicyLossSums policy_loss(std::span<const float> log_probs, std::span<const float> old_log_probs,
                           std::span<const float> advantages, std::span<const uint8_t> mask,
                           std::span<const float> weights, const LossOptions& options,
                           std::span<float> gradient) {
  PolicyLossSums sums;
  const auto low = static_cast<float>(1.0 - options.clip_low),
             high = static_cast<float>(1.0 + options.clip_high);
  for (size_t k = 0; k < log_probs.size(); ++k) {
    if (mask[k] == 0) continue;
    const float difference = log_probs[k] - old_log_probs[k];
    const float log_ratio = std::clamp(difference, -max_log_ratio, max_log_ratio);
    const float ratio = std::exp(log_ratio);
    const float advantage = advantages[k];
    const float plain = -advantage * ratio;
    const float clipped = -advantage * std::clamp(ratio, low, high);
    float loss = std::max(plain, clipped);
    bool flat = clipped > plain || log_ratio != difference;  // no gradient through a clamp
    sums.clipped += clipped > plain;
    if (options.dual_clip && advantage < 0) {
      const float bound = -advantage * static_cast<float>(*options.dual_clip);
      if (loss > bound) {
        loss = bound;
        flat = true;
        sums.dual_clipped += 1;
      }
    }
    sums.loss += static_cast<double>(weights[k]) * loss;
    sums.tokens += 1;
    sums.approx_kl -= log_ratio;
    sums.ratio += ratio;
    sums.ratio_max = std::max(sums.ratio_max, static_cast<double>(ratio));
    // A log-prob that is not a number must reach the loss, whatever the clamps make of it.
    if (std::isnan(difference)) sums.loss = std::numeric_limits<double>::quiet_NaN();
    if (!flat) gradient[k] += weights[k] * plain;
  }
  return sums;
}

KlValue kl_penalty(float log_prob, float reference_log_prob, KlEstimator estimator) {
  const float difference = log_prob - reference_log_prob;
  switch (estimator) {
    case KlEstimator::k1:
      return {difference, 1.0f};
    case KlEstimator::abs:
      return {std::abs(difference), static_cast<float>((difference > 0) - (difference < 0))};
    case KlEstimator::k2:
      return {0.5f * difference * difference, difference};
    case KlEstimator::k3:
      break;
  }
  const float log_ratio = std::clamp(-difference, -max_log_ratio, max_log_ratio);
  const float ratio = std::exp(log_ratio);
  const float value = ratio - log_ratio - 1.0f;
  if (value > 10.0f) return {10.0f, 0.0f};
  return {value, log_ratio == -difference ? 1.0f - ratio : 0.0f};
}

void ValueLossSums::add(const ValueLossSums& other) {
  loss += other.loss;
  tokens += other.tokens;
  clipped += other.clipped;
  returns += other.returns;
  returns_squared += other.returns_squared;
  residual += other.residual;
  residual_squared += other.residual_squared;
}

double ValueLossSums::explained_variance() const {
  const double variance = returns_squared - returns * returns / tokens;
  if (!(variance > 1e-12 * std::max(1.0, returns_squared))) return std::numeric_limits<double>::quiet_NaN();
  return 1.0 - (residual_squared - residual * residual / tokens) / variance;
}

void ValueLossSums::report(StepMetrics& metrics) const {
  metrics["value_loss"] = loss;
  metrics["value_clip_fraction"] = clipped / tokens;
  metrics["explained_variance"] = explained_variance();
}

ValueLossSums value_loss(std::span<const float> values, std::span<const float> old_values,
                         std::span<const float> returns, std::span<const uint8_t> mask,
                         std::span<const float> weights, std::optional<double> clip,
                         std::span<float> gradient) {
  ValueLossSums sums;
  for (size_t k = 0; k < values.size(); ++k) {
    if (mask[k] == 0) continue;
    const float error = values[k] - returns[k];
    float squared = error * error;
    bool flat = false;
    if (clip) {
      const auto range = static_cast<float>(*clip);
      const float clipped_error =
          std::clamp(values[k], old_values[k] - range, old_values[k] + range) - returns[k];
      if (clipped_error * clipped_error > squared) {
        squared = clipped_error * clipped_error;
        flat = true;
        sums.clipped += 1;
      }
    }
    sums.loss += 0.5 * static_cast<double>(weights[k]) * squared;
    sums.tokens += 1;
    sums.returns += returns[k];
    sums.returns_squared += static_cast<double>(returns[k]) * returns[k];
    sums.residual += error;
    sums.residual_squared += static_cast<double>(error) * error;
    if (!flat) gradient[k] += weights[k] * error;
  }
  return sums;
}

}  // namespace spa
