#include <ATen/Version.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/version.h>

#include <string>

#include "binding/convert.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "engine/model_config.h"
#include "engine/work_sizes.h"
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

Napi::Value work_sizes_function(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const bool cuda = info[2].As<Napi::String>().Utf8Value() == "cuda";
    const WorkSizes sizes =
        work_sizes(model_config(info[0].As<Napi::Object>()), dtype_of(info[1].As<Napi::String>().Utf8Value()),
                   cuda ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU));
    auto result = Napi::Object::New(info.Env());
    result.Set("sideBySide", sizes.side_by_side);
    const auto set = [&](const char* name, int64_t value) { result.Set(name, static_cast<double>(value)); };
    set("chunkTokens", sizes.chunk_tokens);
    set("inferenceTokens", sizes.inference_tokens);
    set("logits", sizes.logits);
    set("samplingLogits", sizes.sampling_logits);
    set("attentionScores", sizes.attention_scores);
    set("packedBytes", sizes.packed_bytes);
    set("packedElements", sizes.packed_elements);
    set("cacheBlockTokens", sizes.cache_block_tokens);
    result.Set("tiles", sizes.tiles);
    return result;
  });
}

}  // namespace spa::binding
