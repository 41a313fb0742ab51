#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/version.h>

#include <string>

#include "binding/convert.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "engine/model_config.h"
#include "engine/pass_memory.h"
#include "kernels/dispatch.h"

namespace spa::binding {
namespace {

const char* isa_name() {
  using kernels::cpu::Isa;
  const auto* chosen = &kernels::cpu::table();
  if (chosen == kernels::cpu::table_for(Isa::avx512)) return "avx512";
  if (chosen == kernels::cpu::table_for(Isa::avx2)) return "avx2";
  return "baseline";
}

Napi::Value named_shapes(Napi::Env env, const std::vector<ParameterSpec>& specs) {
  auto result = Napi::Array::New(env, specs.size());
  for (uint32_t i = 0; i < specs.size(); ++i) {
    result.Set(i, tensor_info(env, specs[i].name, at::kFloat, specs[i].shape));
  }
  return result;
}

PassSettings pass_settings(const Napi::Object& object) {
  PassSettings settings;
  settings.dtype = dtype_of(text(object, "dtype"));
  if (text(object, "device") == "cuda") settings.device = at::Device(at::kCUDA, 0);
  settings.threads = integer(object, "threads");
  settings.micro_batch_tokens = integer(object, "microBatchTokens");
  settings.activation_checkpointing = flag(object, "activationCheckpointing");
  if (text(object, "moments") == "int8") settings.moments = MomentFormat::int8;
  const Napi::Value adapter = object.Get("adapter");
  if (!adapter.IsNull()) settings.adapter = adapter_config(adapter.As<Napi::Object>());
  return settings;
}

Workload workload(const Napi::Object& object) {
  return {.models = integer(object, "models"),
          .trained = integer(object, "trained"),
          .row = integer(object, "row"),
          .update_rows = integer(object, "updateRows"),
          .scored_rows = integer(object, "scoredRows"),
          .slots = integer(object, "slots")};
}

const char* pass_name(PassKind kind) {
  switch (kind) {
    case PassKind::sampling:
      return "sampling";
    case PassKind::scoring:
      return "scoring";
    case PassKind::update:
      break;
  }
  return "update";
}

/// NativePassMemory.
Napi::Object pass_object(Napi::Env env, const PassMemory& memory) {
  auto result = Napi::Object::New(env);
  const auto set = [&](const char* name, auto value) { result.Set(name, static_cast<double>(value)); };
  result.Set("phase", pass_name(memory.kind));
  set("tokens", memory.tokens);
  set("weights", memory.weights);
  set("master", memory.master);
  set("moments", memory.moments);
  set("gradients", memory.gradients);
  set("cache", memory.cache);
  set("activations", memory.activations);
  set("logits", memory.logits);
  return result;
}

}  // namespace

Napi::Value addon_info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto env = info.Env();
    auto devices = Napi::Array::New(env);
    const int count = at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
    for (int i = 0; i < count; ++i) devices.Set(i, "cuda:" + std::to_string(i));
    auto result = Napi::Object::New(env);
    result.Set("libtorch", TORCH_VERSION);
    result.Set("cpuCapability", at::get_cpu_capability());
    result.Set("isa", isa_name());
    result.Set("mkldnn", at::hasMKLDNN());
#ifdef SPA_CUDA
    result.Set("cuda", true);
#else
    result.Set("cuda", false);
#endif
    result.Set("devices", devices);
    return result;
  });
}

Napi::Value parameters(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return named_shapes(info.Env(), parameter_specs(model_config(info[0].As<Napi::Object>()),
                                                    info[1].As<Napi::Boolean>().Value()));
  });
}

Napi::Value adapter_parameters(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return named_shapes(info.Env(), adapter_specs(model_config(info[0].As<Napi::Object>()),
                                                  adapter_config(info[1].As<Napi::Object>()), false));
  });
}

Napi::Value pass_memory_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto passes =
        pass_memory(model_config(info[0].As<Napi::Object>()), pass_settings(info[1].As<Napi::Object>()),
                    workload(info[2].As<Napi::Object>()));
    auto result = Napi::Array::New(info.Env(), passes.size());
    for (uint32_t i = 0; i < passes.size(); ++i) result.Set(i, pass_object(info.Env(), passes[i]));
    return result;
  });
}

}  // namespace spa::binding
