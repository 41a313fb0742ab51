// What JavaScript sees of the native code; lib/addon/addon.ts is its typed mirror.
#include <napi.h>

#include "binding/engine_object.h"
#include "binding/environment.h"
#include "binding/functions.h"
#include "binding/model_object.h"
#include "binding/session_object.h"
#include "binding/trainer_object.h"

namespace {

using namespace spa::binding;

Napi::Value initialize(const Napi::CallbackInfo& info) {
  Environment::of(info.Env()).set_error_class(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

Napi::Object exports_of(Napi::Env env, Napi::Object exports) {
  auto* environment = new Environment();
  env.SetInstanceData(environment);
  environment->model_class = Napi::Persistent(ModelObject::define(env));
  environment->session_class = Napi::Persistent(SessionObject::define(env));
  environment->trainer_class = Napi::Persistent(TrainerObject::define(env));

  exports.Set("Engine", EngineObject::define(env));
  exports.Set("initialize", Napi::Function::New<initialize>(env));
  exports.Set("info", Napi::Function::New<addon_info>(env));
  exports.Set("parameters", Napi::Function::New<parameters>(env));
  exports.Set("adapterParameters", Napi::Function::New<adapter_parameters>(env));
  exports.Set("passMemory", Napi::Function::New<pass_memory_function>(env));
  exports.Set("gae", Napi::Function::New<gae_function>(env));
  exports.Set("biLevelGae", Napi::Function::New<bi_level_gae_function>(env));
  exports.Set("whiten", Napi::Function::New<whiten_function>(env));
  exports.Set("policyLoss", Napi::Function::New<policy_loss_function>(env));
  exports.Set("valueLoss", Napi::Function::New<value_loss_function>(env));
  exports.Set("aggregate", Napi::Function::New<aggregate_function>(env));
  exports.Set("klPenalty", Napi::Function::New<kl_penalty_function>(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(spa, exports_of)
