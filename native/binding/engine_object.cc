#include "binding/engine_object.h"

#include "binding/convert.h"
#include "binding/errors.h"
#include "binding/model_object.h"
#include "binding/trainer_object.h"
#include "engine/gemm_rate.h"
#include "engine/memory.h"
#include "engine/model.h"

namespace spa::binding {

Napi::Function EngineObject::define(Napi::Env env) {
  return DefineClass(
      env, "Engine",
      {InstanceMethod<&EngineObject::start>("start"),
       InstanceMethod<&EngineObject::create_model>("createModel"),
       InstanceMethod<&EngineObject::load_model>("loadModel"),
       InstanceMethod<&EngineObject::create_trainer>("createTrainer"),
       InstanceMethod<&EngineObject::gemm>("gemm"), InstanceMethod<&EngineObject::memory>("memory"),
       InstanceMethod<&EngineObject::reset_peak_memory>("resetPeakMemory"),
       InstanceMethod<&EngineObject::dispose>("dispose")});
}

EngineObject::EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
  const auto options = info[0].As<Napi::Object>();
  device_ = text(options, "device");
  threads_ = static_cast<int>(integer(options, "threads"));
  memory_limit_ = integer(options, "memoryLimit");
  engine_.runtime = std::make_shared<Resident<EngineRuntime>>("engine");
  engine_.thread = EngineThread::start(info.Env());
  engine_.thread->adopt(engine_.runtime);
}

EngineObject::~EngineObject() {
  if (engine_.thread) engine_.thread->abandon();
}

Napi::Value EngineObject::start(const Napi::CallbackInfo& info) {
  auto work = [runtime = engine_.runtime, name = device_, threads = threads_,
               limit = memory_limit_](const LongCall&) {
    const at::Device device = resolve_device(name);
    runtime->set(
        std::shared_ptr<EngineRuntime>(new EngineRuntime{RuntimeLease(threads, device, limit), device}));
    runtime->get()->lease.enter_thread();
    return [device](Napi::Env env) -> Napi::Value {
      auto result = Napi::Object::New(env);
      result.Set("device", device.is_cpu() ? "cpu" : "cuda");
      return result;
    };
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value EngineObject::create_model(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto options = info[1].As<Napi::Object>();
    ModelOptions settings;
    settings.dtype = dtype_of(text(options, "dtype"));
    settings.seed = static_cast<uint64_t>(integer(options, "seed"));
    settings.initialization =
        text(options, "initialization") == "nano" ? Initialization::nano : Initialization::standard;
    settings.value_head = flag(options, "valueHead");
    auto work = [engine = engine_, settings,
                 config = model_config(info[0].As<Napi::Object>())](const LongCall&) mutable {
      settings.device = engine.runtime->get()->device;
      return ModelObject::deliver(engine, Model::create(config, settings));
    };
    return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
  });
}

Napi::Value EngineObject::load_model(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    ModelOptions settings;
    settings.dtype = dtype_of(text(info[2].As<Napi::Object>(), "dtype"));
    auto work = [engine = engine_, settings, config = model_config(info[0].As<Napi::Object>()),
                 entries = tensor_entries(info[1])](const LongCall& call) mutable {
      settings.device = engine.runtime->get()->device;
      return ModelObject::deliver(engine, Model::load(config, entries, settings, call));
    };
    return engine_.thread->submit(info.Env(), std::move(work), info[3]);
  });
}

Napi::Value EngineObject::create_trainer(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto model = ModelObject::Unwrap(info[0].As<Napi::Object>())->resident();
    std::shared_ptr<Resident<Model>> critic;
    if (info[1].IsString()) {
      critic = model;  // "shared"
    } else if (info[1].IsObject()) {
      critic = ModelObject::Unwrap(info[1].As<Napi::Object>())->resident();
    }
    return TrainerObject::create(info.Env(), engine_, model, critic,
                                 trainer_options(info[2].As<Napi::Object>()));
  });
}

Napi::Value EngineObject::gemm(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto options = info[0].As<Napi::Object>();
    const ProductShape shape{integer(options, "rows"), integer(options, "inner"),
                             integer(options, "columns")};
    auto work = [runtime = engine_.runtime, shape, dtype = dtype_of(text(options, "dtype")),
                 repeats = static_cast<int>(integer(options, "repeats"))](const LongCall&) {
      const double seconds = fastest_product_seconds(shape, dtype, runtime->get()->device, repeats);
      return [seconds](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, seconds); };
    };
    return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
  });
}

Napi::Value EngineObject::memory(const Napi::CallbackInfo& info) {
  auto work = [runtime = engine_.runtime](const LongCall&) {
    const MemoryUse use = memory_use(runtime->get()->device);
    return [use](Napi::Env env) -> Napi::Value {
      auto result = Napi::Object::New(env);
      result.Set("current", static_cast<double>(use.current));
      result.Set("peak", static_cast<double>(use.peak));
      result.Set("limit", static_cast<double>(use.limit));
      return result;
    };
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value EngineObject::reset_peak_memory(const Napi::CallbackInfo& info) {
  auto work = [runtime = engine_.runtime](const LongCall&) {
    spa::reset_peak_memory(runtime->get()->device);
    return EngineThread::Deliver();
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value EngineObject::dispose(const Napi::CallbackInfo& info) { return engine_.thread->stop(info.Env()); }

}  // namespace spa::binding
