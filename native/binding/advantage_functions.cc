#include <vector>

#include "binding/convert.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "engine/advantage.h"

namespace spa::binding {
namespace {

/// NativeAdvantageBatch and room for the results.
struct Rows {
  explicit Rows(const Napi::Object& object)
      : rewards(numbers<float>(object.Get("rewards"))),
        values(numbers<float>(object.Get("values"))),
        mask(numbers<uint8_t>(object.Get("mask"))),
        offsets(numbers<uint32_t>(object.Get("offsets"))),
        advantages(rewards.size()),
        returns(rewards.size()) {}

  AdvantageInput input() const { return {rewards, values, mask, offsets}; }
  AdvantageOutput output() { return {advantages, returns}; }

  Napi::Value results(Napi::Env env) const {
    auto object = Napi::Object::New(env);
    object.Set("advantages", typed_array(env, advantages));
    object.Set("returns", typed_array(env, returns));
    return object;
  }

  std::vector<float> rewards, values;
  std::vector<uint8_t> mask;
  std::vector<uint32_t> offsets;
  std::vector<float> advantages, returns;
};

double argument(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().DoubleValue();
}

}  // namespace

Napi::Value gae_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Rows rows(info[0].As<Napi::Object>());
    gae(rows.input(), argument(info, 1), argument(info, 2), rows.output());
    return rows.results(info.Env());
  });
}

Napi::Value bi_level_gae_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto batch = info[0].As<Napi::Object>();
    Rows rows(batch);
    const auto turn_ends = numbers<uint32_t>(batch.Get("turnEnds"));
    bi_level_gae(rows.input(), turn_ends, argument(info, 1), argument(info, 2), argument(info, 3),
                 rows.output());
    return rows.results(info.Env());
  });
}

Napi::Value whiten_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto values = numbers<float>(info[0]);
    const auto mask = numbers<uint8_t>(info[1]);
    std::vector<float> output(values.size());
    whiten(values, mask, output);
    return typed_array(info.Env(), output);
  });
}

}  // namespace spa::binding
