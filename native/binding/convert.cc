#include "binding/convert.h"

#include <cstring>
#include <utility>

#include "engine/error.h"

namespace spa::binding {
namespace {

template <class Array, class T>
Napi::Value copied(Napi::Env env, const std::vector<T>& values) {
  auto array = Array::New(env, values.size());
  if (!values.empty()) std::memcpy(array.Data(), values.data(), values.size() * sizeof(T));
  return array;
}

Error unknown(const std::string& what, const std::string& name) {
  return Error("INTERNAL", "unknown " + what + " \"" + name + "\"");
}

template <class Enum>
using EnumNames = std::initializer_list<std::pair<const char*, Enum>>;

/// The entry that a text names.
template <class Enum>
Enum named(const Napi::Value& value, const char* what, EnumNames<Enum> names) {
  const std::string text = value.As<Napi::String>().Utf8Value();
  for (const auto& [name, entry] : names) {
    if (text == name) return entry;
  }
  throw unknown(what, text);
}

/// Reads the fields of a loss, each by its type, and counts them.
struct LossReader {
  const Napi::Object& object;
  uint32_t& fields;

  template <class T>
  void operator()(const char* name, T& field) const {
    ++fields;
    if (!object.Has(name)) throw Error("INTERNAL", std::string("a loss without ") + name);
    read(name, field);
  }

 private:
  void read(const char* name, double& field) const { field = number(object, name); }
  void read(const char* name, std::optional<double>& field) const { field = optional_number(object, name); }
  void read(const char* name, Aggregation& field) const { field = aggregation_of(object.Get(name)); }
  void read(const char* name, KlEstimator& field) const { field = kl_estimator_of(object.Get(name)); }
  void read(const char* name, LossKind& field) const {
    field = named<LossKind>(object.Get(name), "loss",
                            {{"sft", LossKind::sft}, {"ppo", LossKind::ppo}, {"value", LossKind::value}});
  }
};

std::vector<int64_t> shape_of(const Napi::Object& object) {
  const auto array = object.Get("shape").As<Napi::Array>();
  std::vector<int64_t> shape;
  for (uint32_t i = 0; i < array.Length(); ++i) shape.push_back(array.Get(i).As<Napi::Number>().Int64Value());
  return shape;
}

RopeScaling rope_scaling(const Napi::Object& object) {
  RopeScaling scaling;
  const std::string kind = text(object, "kind");
  if (kind == "linear") scaling.kind = RopeScaling::Kind::linear;
  if (kind == "llama3") scaling.kind = RopeScaling::Kind::llama3;
  scaling.factor = number(object, "factor");
  scaling.low_freq_factor = number(object, "lowFrequencyFactor");
  scaling.high_freq_factor = number(object, "highFrequencyFactor");
  scaling.original_max_positions = integer(object, "originalMaxPositions");
  return scaling;
}

Schedule schedule_of(const Napi::Object& object) {
  Schedule schedule;
  const std::string kind = text(object, "kind");
  if (kind == "linear") schedule.kind = Schedule::Kind::linear;
  if (kind == "cosine") schedule.kind = Schedule::Kind::cosine;
  schedule.warmup_steps = integer(object, "warmupSteps");
  schedule.total_steps = integer(object, "totalSteps");
  schedule.minimum_ratio = number(object, "minimumRatio");
  return schedule;
}

}  // namespace

Napi::Value typed_array(Napi::Env env, const std::vector<float>& values) {
  return copied<Napi::Float32Array>(env, values);
}
Napi::Value typed_array(Napi::Env env, const std::vector<int32_t>& values) {
  return copied<Napi::Int32Array>(env, values);
}
Napi::Value typed_array(Napi::Env env, const std::vector<uint32_t>& values) {
  return copied<Napi::Uint32Array>(env, values);
}
Napi::Value typed_array(Napi::Env env, const std::vector<uint8_t>& values) {
  return copied<Napi::Uint8Array>(env, values);
}

double number(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::Number>().DoubleValue();
}
std::optional<double> optional_number(const Napi::Object& object, const char* key) {
  return object.Get(key).IsNull() ? std::nullopt : std::optional(number(object, key));
}
int64_t integer(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::Number>().Int64Value();
}
bool flag(const Napi::Object& object, const char* key) { return object.Get(key).As<Napi::Boolean>().Value(); }
std::string text(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::String>().Utf8Value();
}
Napi::Object object_at(const Napi::Object& object, const char* key) {
  return object.Get(key).As<Napi::Object>();
}

at::ScalarType dtype_of(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  throw unknown("dtype", name);
}

Aggregation aggregation_of(const Napi::Value& name) {
  return named<Aggregation>(name, "aggregation",
                            {{"token-mean", Aggregation::token_mean},
                             {"seq-mean-token-mean", Aggregation::seq_mean_token_mean},
                             {"seq-mean-token-sum", Aggregation::seq_mean_token_sum}});
}

KlEstimator kl_estimator_of(const Napi::Value& name) {
  return named<KlEstimator>(
      name, "KL estimator",
      {{"k1", KlEstimator::k1}, {"abs", KlEstimator::abs}, {"k2", KlEstimator::k2}, {"k3", KlEstimator::k3}});
}

ModelConfig model_config(const Napi::Object& object) {
  ModelConfig config;
  config.vocab = integer(object, "vocab");
  config.hidden = integer(object, "hidden");
  config.intermediate = integer(object, "intermediate");
  config.layers = integer(object, "layers");
  config.heads = integer(object, "heads");
  config.kv_heads = integer(object, "kvHeads");
  config.head_dim = integer(object, "headDim");
  config.rope_theta = number(object, "ropeTheta");
  config.rms_eps = number(object, "rmsEps");
  config.rope_scaling = rope_scaling(object_at(object, "ropeScaling"));
  config.qkv_bias = flag(object, "qkvBias");
  config.o_bias = flag(object, "oBias");
  config.mlp_bias = flag(object, "mlpBias");
  config.qk_norm = flag(object, "qkNorm");
  config.tied = flag(object, "tied");
  config.max_positions = integer(object, "maxPositions");
  return config;
}

AdapterConfig adapter_config(const Napi::Object& object) {
  AdapterConfig config;
  config.rank = integer(object, "rank");
  config.scale = number(object, "scale");
  config.dropout = number(object, "dropout");
  const auto targets = object.Get("targets").As<Napi::Array>();
  for (uint32_t i = 0; i < target_count; ++i) config.targets[i] = targets.Get(i).As<Napi::Boolean>().Value();
  return config;
}

AdamWOptions optimizer_options(const Napi::Object& object) {
  AdamWOptions options;
  options.learning_rate = number(object, "learningRate");
  options.beta1 = number(object, "beta1");
  options.beta2 = number(object, "beta2");
  options.weight_decay = number(object, "weightDecay");
  options.epsilon = number(object, "epsilon");
  return options;
}

TrainerOptions trainer_options(const Napi::Object& object) {
  TrainerOptions options;
  options.optimizer = optimizer_options(object_at(object, "optimizer"));
  options.critic_optimizer = optimizer_options(object_at(object, "criticOptimizer"));
  options.gradient_clip = optional_number(object, "gradientClip");
  options.schedule = schedule_of(object_at(object, "schedule"));
  options.micro_batch_tokens = integer(object, "microBatchTokens");
  options.dropout_seed = static_cast<uint64_t>(integer(object, "seed"));
  options.activation_checkpointing = flag(object, "activationCheckpointing");
  if (text(object, "moments") == "int8") options.moments = MomentFormat::int8;
  return options;
}

LossOptions loss_options(const Napi::Object& object) {
  LossOptions options;
  uint32_t fields = 0;
  options.visit_fields(LossReader{object, fields});
  if (object.GetPropertyNames().Length() != fields)
    throw Error("INTERNAL", "a loss has a field that the engine does not know");
  return options;
}

Napi::Object figures(Napi::Env env, const StepMetrics& metrics) {
  auto object = Napi::Object::New(env);
  for (const auto& [name, value] : metrics) object.Set(name, value);
  return object;
}

std::vector<TensorEntry> tensor_entries(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<TensorEntry> entries;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const auto object = array.Get(i).As<Napi::Object>();
    entries.push_back({text(object, "name"), text(object, "dtype"), shape_of(object), text(object, "file"),
                       static_cast<uint64_t>(integer(object, "begin")),
                       static_cast<uint64_t>(integer(object, "end"))});
  }
  return entries;
}

Napi::Object tensor_info(Napi::Env env, const std::string& name, at::ScalarType dtype,
                         at::IntArrayRef shape) {
  auto sizes = Napi::Array::New(env, shape.size());
  for (uint32_t i = 0; i < shape.size(); ++i) sizes.Set(i, static_cast<double>(shape[i]));
  auto object = Napi::Object::New(env);
  object.Set("name", name);
  object.Set("dtype", dtype == at::kBFloat16 ? "BF16" : dtype == at::kByte ? "U8" : "F32");
  object.Set("shape", sizes);
  return object;
}

OwnedTrainBatch::OwnedTrainBatch(const Napi::Object& object)
    : tokens_(numbers<int32_t>(object.Get("tokens"))),
      offsets_(numbers<uint32_t>(object.Get("offsets"))),
      mask_(numbers<uint8_t>(object.Get("mask"))),
      supervised_mask_(optional_numbers<uint8_t>(object, "supervisedMask")),
      environment_mask_(optional_numbers<uint8_t>(object, "environmentMask")),
      value_mask_(optional_numbers<uint8_t>(object, "valueMask")),
      token_weights_(optional_numbers<float>(object, "tokenWeights")),
      old_log_probs_(optional_numbers<float>(object, "oldLogProbs")),
      advantages_(optional_numbers<float>(object, "advantages")),
      reference_log_probs_(optional_numbers<float>(object, "referenceLogProbs")),
      old_values_(optional_numbers<float>(object, "oldValues")),
      returns_(optional_numbers<float>(object, "returns")) {}

TrainBatch OwnedTrainBatch::view() const {
  TrainBatch batch;
  batch.rows = {tokens_, offsets_};
  batch.mask = mask_;
  batch.token_weights = token_weights_;
  batch.old_log_probs = old_log_probs_;
  batch.advantages = advantages_;
  batch.reference_log_probs = reference_log_probs_;
  batch.supervised_mask = supervised_mask_;
  batch.environment_mask = environment_mask_;
  batch.value_mask = value_mask_;
  batch.old_values = old_values_;
  batch.returns = returns_;
  return batch;
}

}  // namespace spa::binding
