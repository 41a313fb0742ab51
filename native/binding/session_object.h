// Session: KV-cache slots of a model.
#pragma once

#include <napi.h>

#include <memory>

#include "binding/engine_object.h"
#include "engine/session.h"

namespace spa::binding {

/// lib/addon/addon.ts: NativeSession.
class SessionObject : public Napi::ObjectWrap<SessionObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SessionObject(const Napi::CallbackInfo& info);

  /// On the engine's thread: registers a session of `model` and says how to wrap it on JavaScript's.
  static EngineThread::Deliver deliver(const EngineHandle& engine,
                                       const std::shared_ptr<Resident<Model>>& model,
                                       std::shared_ptr<Session> session);

 private:
  /// What the constructor is given, through an External.
  struct Contents;

  Napi::Value extend(const Napi::CallbackInfo& info);
  Napi::Value fork(const Napi::CallbackInfo& info);
  Napi::Value generate(const Napi::CallbackInfo& info);
  Napi::Value release(const Napi::CallbackInfo& info);
  Napi::Value release_all(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  /// Queues a call that resolves to undefined.
  Napi::Value run(const Napi::CallbackInfo& info, std::function<void(Session&, const LongCall&)> work,
                  Napi::Value progress);

  EngineHandle engine_;
  std::shared_ptr<Resident<Session>> session_;
};

}  // namespace spa::binding
