// Trainer: optimisers over a model and its critic.
#pragma once

#include <napi.h>

#include <memory>

#include "binding/engine_object.h"
#include "engine/model.h"
#include "engine/trainer.h"

namespace spa::binding {

/// lib/addon/addon.ts: NativeTrainer.
class TrainerObject : public Napi::ObjectWrap<TrainerObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit TrainerObject(const Napi::CallbackInfo& info);

  /// Returns at once; the trainer itself is made by the engine's next job. `critic` is null, `model` itself
  /// or another model.
  static Napi::Value create(Napi::Env env, const EngineHandle& engine,
                            const std::shared_ptr<Resident<Model>>& model,
                            const std::shared_ptr<Resident<Model>>& critic, const TrainerOptions& options);

 private:
  /// What the constructor is given, through an External.
  struct Contents {
    EngineHandle engine;
    std::shared_ptr<Resident<Model>> model, critic;
    std::shared_ptr<Resident<Trainer>> trainer;
    double initial_learning_rate = 0;
  };

  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value describe(const Napi::CallbackInfo& info);
  Napi::Value save_state(const Napi::CallbackInfo& info);
  Napi::Value load_state(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  Contents contents_;
};

}  // namespace spa::binding
