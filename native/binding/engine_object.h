// Engine: one thread with models, sessions and trainers on it.
#pragma once

#include <napi.h>

#include <memory>

#include "binding/engine_thread.h"
#include "binding/resident.h"
#include "engine/runtime.h"

namespace spa::binding {

/// Process-wide settings and the device; made by the engine's first job.
struct EngineRuntime {
  RuntimeLease lease;
  at::Device device;
};

/// What every object of an engine holds on to.
struct EngineHandle {
  std::shared_ptr<EngineThread> thread;
  std::shared_ptr<Resident<EngineRuntime>> runtime;
};

/// lib/addon/addon.ts: NativeEngine.
class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit EngineObject(const Napi::CallbackInfo& info);
  ~EngineObject() override;

 private:
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value create_model(const Napi::CallbackInfo& info);
  Napi::Value load_model(const Napi::CallbackInfo& info);
  Napi::Value create_trainer(const Napi::CallbackInfo& info);
  Napi::Value gemm(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value reset_peak_memory(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  EngineHandle engine_;
  std::string device_;
  int threads_ = 1;
  int64_t memory_limit_ = 0;
};

}  // namespace spa::binding
