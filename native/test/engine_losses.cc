// Losses against formulas in double, gradients against finite differences.
#include <algorithm>
#include <cmath>

#include "doctest_torch.h"
#include "engine/error.h"
#include "engine/losses.h"
#include "kernels/philox.h"

using namespace spa;

namespace {

std::vector<float> random_floats(size_t count, uint64_t stream, float low, float high) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = low + (high - low) * kernels::philox_uniform(11, stream, i);
  return values;
}

const std::vector<uint32_t> offsets = {0, 6, 6, 11, 20};

std::vector<uint8_t> some_mask() {
  std::vector<uint8_t> mask(20, 0);
  for (const int k : {1, 2, 5, 12, 13, 14, 19}) mask[k] = 1;
  return mask;  // row 2 (tokens 6 to 10) has none
}

LossOptions with_clips(double low, double high, std::optional<double> dual) {
  LossOptions options;
  options.clip_low = low;
  options.clip_high = high;
  options.dual_clip = dual;
  return options;
}

double policy_reference(double log_prob, double old, double advantage, const LossOptions& o) {
  const double ratio = std::exp(std::clamp(log_prob - old, -20.0, 20.0));
  const double loss =
      std::max(-advantage * ratio, -advantage * std::clamp(ratio, 1 - o.clip_low, 1 + o.clip_high));
  return o.dual_clip && advantage < 0 ? std::min(loss, -advantage * *o.dual_clip) : loss;
}

}  // namespace

TEST_CASE("aggregation weights") {
  const auto mask = some_mask();
  std::vector<float> losses(20);
  for (size_t k = 0; k < losses.size(); ++k) losses[k] = static_cast<float>(k);
  CHECK(aggregate(losses, mask, offsets, Aggregation::token_mean) == doctest::Approx(66.0 / 7));
  CHECK(aggregate(losses, mask, offsets, Aggregation::seq_mean_token_mean) ==
        doctest::Approx((8.0 / 3 + 58.0 / 4) / 2));
  CHECK(aggregate(losses, mask, offsets, Aggregation::seq_mean_token_sum) == doctest::Approx(66.0 / 2));
  const std::vector<uint8_t> none(20, 0);
  CHECK_THROWS_AS(aggregation_weights(none, offsets, Aggregation::token_mean), Error);
}

TEST_CASE("aggregation weights of tokens that count differently") {
  const auto mask = some_mask();
  std::vector<float> token_weights(20, 1.0f);
  token_weights[2] = token_weights[13] = 2.0f;
  token_weights[19] = 0.5f;
  token_weights[7] = 100.0f;  // not in the mask
  const auto aggregated = [&](Aggregation aggregation) {
    const auto weights = aggregation_weights(mask, offsets, aggregation, token_weights);
    double sum = 0;
    for (size_t k = 0; k < weights.size(); ++k)
      sum += static_cast<double>(weights[k]) * static_cast<double>(k);
    return sum;
  };
  CHECK(aggregated(Aggregation::token_mean) == doctest::Approx(71.5 / 8.5));
  CHECK(aggregated(Aggregation::seq_mean_token_mean) == doctest::Approx((10.0 / 4 + 61.5 / 4.5) / 2));
  CHECK(aggregated(Aggregation::seq_mean_token_sum) == doctest::Approx(71.5 / 2));
  for (const auto aggregation : {Aggregation::token_mean, Aggregation::seq_mean_token_mean}) {
    CHECK(aggregation_weights(mask, offsets, aggregation, std::vector<float>(20, 1.0f)) ==
          aggregation_weights(mask, offsets, aggregation));
  }
}

TEST_CASE("policy loss and its gradient") {
  const auto mask = some_mask();
  const auto old = random_floats(20, 1, -3, -0.1f), advantages = random_floats(20, 2, -2, 2);
  auto log_probs = old;
  const auto noise = random_floats(20, 3, -0.8f, 1.6f);
  for (size_t k = 0; k < 20; ++k) log_probs[k] += noise[k];
  log_probs[12] = old[12] + 30;  // beyond the clamp of the log ratio
  for (const LossOptions& options :
       {with_clips(0.2, 0.28, 3.0), with_clips(0.2, 0.2, std::nullopt), with_clips(0.1, 0.3, 2.0)}) {
    const auto weights = aggregation_weights(mask, offsets, Aggregation::seq_mean_token_mean);
    std::vector<float> gradient(20, 0.0f);
    const auto sums = policy_loss(log_probs, old, advantages, mask, weights, options, gradient);
    double expected = 0;
    for (size_t k = 0; k < 20; ++k) {
      if (mask[k] == 0) {
        CHECK(gradient[k] == 0);
        continue;
      }
      expected += weights[k] * policy_reference(log_probs[k], old[k], advantages[k], options);
      const double step = 1e-6;
      const double slope = (policy_reference(log_probs[k] + step, old[k], advantages[k], options) -
                            policy_reference(log_probs[k] - step, old[k], advantages[k], options)) /
                           (2 * step);
      CHECK(gradient[k] == doctest::Approx(weights[k] * slope).epsilon(1e-4));
    }
    CHECK(sums.loss == doctest::Approx(expected));
    CHECK(sums.tokens == 7);
  }
}

TEST_CASE("KL estimators and their derivatives") {
  for (const float log_prob : {-0.3f, -1.2f, -2.0f, -3.1f}) {
    const float reference = -1.5f;
    const double difference = log_prob - reference;
    const auto k1 = kl_penalty(log_prob, reference, KlEstimator::k1),
               k2 = kl_penalty(log_prob, reference, KlEstimator::k2),
               k3 = kl_penalty(log_prob, reference, KlEstimator::k3),
               absolute = kl_penalty(log_prob, reference, KlEstimator::abs);
    CHECK(k1.value == doctest::Approx(difference));
    CHECK(k1.derivative == 1);
    CHECK(absolute.value == doctest::Approx(std::abs(difference)));
    CHECK(absolute.derivative == (difference > 0 ? 1 : -1));
    CHECK(k2.value == doctest::Approx(0.5 * difference * difference));
    CHECK(k2.derivative == doctest::Approx(difference));
    CHECK(k3.value == doctest::Approx(std::exp(-difference) + difference - 1));
    CHECK(k3.derivative == doctest::Approx(1 - std::exp(-difference)));
  }
  CHECK(kl_penalty(-30, -1, KlEstimator::k3).value == 10);
  CHECK(kl_penalty(-30, -1, KlEstimator::k3).derivative == 0);
}

TEST_CASE("value loss, clipping, explained variance") {
  const auto mask = some_mask();
  const auto values = random_floats(20, 4, -2, 2), old = random_floats(20, 5, -2, 2),
             returns = random_floats(20, 6, -2, 2);
  const auto weights = aggregation_weights(mask, offsets, Aggregation::token_mean);
  const auto one = [&](double value, size_t k) {
    const double clipped = std::clamp(value, old[k] - 0.5, old[k] + 0.5);
    return 0.5 * std::max(std::pow(value - returns[k], 2), std::pow(clipped - returns[k], 2));
  };
  std::vector<float> gradient(20, 0.0f);
  const auto sums = value_loss(values, old, returns, mask, weights, 0.5, gradient);
  double expected = 0, mean = 0, residual = 0;
  for (size_t k = 0; k < 20; ++k) {
    if (mask[k] == 0) continue;
    expected += weights[k] * one(values[k], k);
    CHECK(gradient[k] ==
          doctest::Approx(weights[k] * (one(values[k] + 1e-6, k) - one(values[k] - 1e-6, k)) / 2e-6)
              .epsilon(1e-4));
    mean += returns[k] / 7;
    residual += (returns[k] - values[k]) / 7;
  }
  CHECK(sums.loss == doctest::Approx(expected));
  double variance = 0, residual_variance = 0;
  for (size_t k = 0; k < 20; ++k) {
    if (mask[k] == 0) continue;
    variance += std::pow(returns[k] - mean, 2);
    residual_variance += std::pow(returns[k] - values[k] - residual, 2);
  }
  CHECK(sums.explained_variance() == doctest::Approx(1 - residual_variance / variance));
}
