// Model: weights on an engine.
#pragma once

#include <napi.h>

#include <memory>

#include "binding/engine_object.h"
#include "engine/model.h"

namespace spa::binding {

/// lib/addon/addon.ts: NativeModel.
class ModelObject : public Napi::ObjectWrap<ModelObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ModelObject(const Napi::CallbackInfo& info);

  /// On the engine's thread: registers a model and says how to wrap it on JavaScript's.
  static EngineThread::Deliver deliver(const EngineHandle& engine, std::shared_ptr<Model> model);

  const std::shared_ptr<Resident<Model>>& resident() const { return model_; }

 private:
  /// What the constructor is given, through an External.
  struct Contents;

  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value clone(const Napi::CallbackInfo& info);
  Napi::Value add_adapter(const Napi::CallbackInfo& info);
  Napi::Value load_adapter(const Napi::CallbackInfo& info);
  Napi::Value backbone(const Napi::CallbackInfo& info);
  Napi::Value merge(const Napi::CallbackInfo& info);
  Napi::Value copy_from(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value open_session(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  EngineHandle engine_;
  std::shared_ptr<Resident<Model>> model_;
};

}  // namespace spa::binding
