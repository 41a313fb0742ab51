#include <vector>

#include "binding/convert.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "engine/losses.h"

namespace spa::binding {
namespace {

/// NativeArrayLoss.
template <class Sums>
Napi::Value loss_and_gradient(Napi::Env env, const Sums& sums, const std::vector<float>& gradient) {
  StepMetrics metrics;
  sums.report(metrics);
  auto result = Napi::Object::New(env);
  result.Set("figures", figures(env, metrics));
  result.Set("gradient", typed_array(env, gradient));
  return result;
}

}  // namespace

Napi::Value policy_loss_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto batch = info[0].As<Napi::Object>();
    const LossOptions options = loss_options(info[1].As<Napi::Object>());
    const auto log_probs = numbers<float>(batch.Get("logProbs"));
    const auto old_log_probs = numbers<float>(batch.Get("oldLogProbs"));
    const auto advantages = numbers<float>(batch.Get("advantages"));
    const auto mask = numbers<uint8_t>(batch.Get("mask"));
    const auto offsets = numbers<uint32_t>(batch.Get("offsets"));
    const auto weights = aggregation_weights(mask, offsets, options.aggregation);
    std::vector<float> gradient(log_probs.size());
    return loss_and_gradient(
        info.Env(), policy_loss(log_probs, old_log_probs, advantages, mask, weights, options, gradient),
        gradient);
  });
}

Napi::Value value_loss_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto batch = info[0].As<Napi::Object>();
    const LossOptions options = loss_options(info[1].As<Napi::Object>());
    const auto values = numbers<float>(batch.Get("values"));
    const auto old_values = numbers<float>(batch.Get("oldValues"));
    const auto returns = numbers<float>(batch.Get("returns"));
    const auto mask = numbers<uint8_t>(batch.Get("mask"));
    const auto offsets = numbers<uint32_t>(batch.Get("offsets"));
    const auto weights = aggregation_weights(mask, offsets, options.aggregation);
    std::vector<float> gradient(values.size());
    return loss_and_gradient(
        info.Env(), value_loss(values, old_values, returns, mask, weights, options.value_clip, gradient),
        gradient);
  });
}

Napi::Value aggregate_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto values = numbers<float>(info[0]);
    const auto mask = numbers<uint8_t>(info[1]);
    const auto offsets = numbers<uint32_t>(info[2]);
    const Aggregation mode = aggregation_of(info[3]);
    return Napi::Number::New(info.Env(), aggregate(values, mask, offsets, mode));
  });
}

Napi::Value kl_penalty_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto log_probs = numbers<float>(info[0]);
    const auto reference = numbers<float>(info[1]);
    const KlEstimator estimator = kl_estimator_of(info[2]);
    std::vector<float> values, gradient;
    for (size_t i = 0; i < log_probs.size(); ++i) {
      const KlValue kl = kl_penalty(log_probs[i], reference[i], estimator);
      values.push_back(kl.value);
      gradient.push_back(kl.derivative);
    }
    auto result = Napi::Object::New(info.Env());
    result.Set("kl", typed_array(info.Env(), values));
    result.Set("gradient", typed_array(info.Env(), gradient));
    return result;
  });
}

}  // namespace spa::binding
