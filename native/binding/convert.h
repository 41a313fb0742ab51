// From JavaScript values to plain structs and back. The TypeScript side has checked and completed everything,
// so that these only copy; each call's data leaves the JavaScript thread as a copy, which later changes of a
// typed array cannot reach.
#pragma once

#include <napi.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/adapter.h"
#include "engine/losses.h"
#include "engine/model_config.h"
#include "engine/trainer.h"
#include "engine/weights.h"

namespace spa::binding {

template <class T>
std::vector<T> numbers(const Napi::Value& array) {
  const auto typed = array.As<Napi::TypedArray>();
  const auto* data = static_cast<const T*>(nullptr);
  if (typed.ByteLength() > 0) {
    data = reinterpret_cast<const T*>(static_cast<const uint8_t*>(typed.ArrayBuffer().Data()) +
                                      typed.ByteOffset());
  }
  return data == nullptr ? std::vector<T>() : std::vector<T>(data, data + typed.ByteLength() / sizeof(T));
}

/// Empty for a key that is absent.
template <class T>
std::vector<T> optional_numbers(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  return value.IsTypedArray() ? numbers<T>(value) : std::vector<T>();
}

Napi::Value typed_array(Napi::Env env, const std::vector<float>& values);
Napi::Value typed_array(Napi::Env env, const std::vector<int32_t>& values);
Napi::Value typed_array(Napi::Env env, const std::vector<uint32_t>& values);
Napi::Value typed_array(Napi::Env env, const std::vector<uint8_t>& values);

double number(const Napi::Object& object, const char* key);
/// Empty for null, which says "off".
std::optional<double> optional_number(const Napi::Object& object, const char* key);
int64_t integer(const Napi::Object& object, const char* key);
bool flag(const Napi::Object& object, const char* key);
std::string text(const Napi::Object& object, const char* key);
Napi::Object object_at(const Napi::Object& object, const char* key);

/// "float32" or "bfloat16".
at::ScalarType dtype_of(const std::string& name);
Aggregation aggregation_of(const Napi::Value& name);
KlEstimator kl_estimator_of(const Napi::Value& name);

ModelConfig model_config(const Napi::Object& object);
/// NativeAdapter.
AdapterConfig adapter_config(const Napi::Object& object);
AdamWOptions optimizer_options(const Napi::Object& object);
TrainerOptions trainer_options(const Napi::Object& object);
/// NativeLoss. Throws INTERNAL unless it has exactly the fields of LossOptions.
LossOptions loss_options(const Napi::Object& object);
Napi::Object figures(Napi::Env env, const StepMetrics& metrics);
/// NativeTensorSource[].
std::vector<TensorEntry> tensor_entries(const Napi::Value& array);

/// { name, dtype, shape } with the dtype as safetensors headers name it.
Napi::Object tensor_info(Napi::Env env, const std::string& name, at::ScalarType dtype, at::IntArrayRef shape);

/// The arrays of a training batch, and the spans that the engine reads.
struct OwnedTrainBatch {
  explicit OwnedTrainBatch(const Napi::Object& object);

  TrainBatch view() const;

 private:
  std::vector<int32_t> tokens_;
  std::vector<uint32_t> offsets_;
  std::vector<uint8_t> mask_, supervised_mask_, environment_mask_, value_mask_;
  std::vector<float> token_weights_, old_log_probs_, advantages_, reference_log_probs_, old_values_, returns_;
};

}  // namespace spa::binding
