#include "binding/model_object.h"

#include "binding/convert.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/session_object.h"

namespace spa::binding {

struct ModelObject::Contents {
  EngineHandle engine;
  std::shared_ptr<Resident<Model>> model;
  // Read on the engine's thread, so that the wrapper need not touch the model.
  std::vector<NamedTensor> tensors;
  int64_t parameter_count = 0;
  bool has_value_head = false;
  uint64_t version = 0;
};

Napi::Function ModelObject::define(Napi::Env env) {
  return DefineClass(
      env, "Model",
      {InstanceMethod<&ModelObject::save>("save"), InstanceMethod<&ModelObject::clone>("clone"),
       InstanceMethod<&ModelObject::add_adapter>("addAdapter"),
       InstanceMethod<&ModelObject::load_adapter>("loadAdapter"),
       InstanceMethod<&ModelObject::backbone>("backbone"), InstanceMethod<&ModelObject::merge>("merge"),
       InstanceMethod<&ModelObject::copy_from>("copyFrom"), InstanceMethod<&ModelObject::score>("score"),
       InstanceMethod<&ModelObject::open_session>("openSession"),
       InstanceMethod<&ModelObject::dispose>("dispose")});
}

EngineThread::Deliver ModelObject::deliver(const EngineHandle& engine, std::shared_ptr<Model> model) {
  auto contents = std::make_shared<Contents>();
  contents->engine = engine;
  contents->tensors = model->parameters();
  contents->parameter_count = model->parameter_count();
  contents->has_value_head = model->has_value_head();
  contents->version = model->own_version();
  contents->model = std::make_shared<Resident<Model>>("model");
  contents->model->set(std::move(model));
  engine.thread->adopt(contents->model);
  return [contents](Napi::Env env) -> Napi::Value {
    return Environment::of(env).model_class.New({Napi::External<Contents>::New(env, contents.get())});
  };
}

ModelObject::ModelObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ModelObject>(info) {
  const Contents& contents = *info[0].As<Napi::External<Contents>>().Data();
  engine_ = contents.engine;
  model_ = contents.model;
  const auto env = info.Env();
  auto tensors = Napi::Array::New(env, contents.tensors.size());
  for (uint32_t i = 0; i < contents.tensors.size(); ++i) {
    const auto& [name, tensor] = contents.tensors[i];
    tensors.Set(i, tensor_info(env, name, tensor.scalar_type(), tensor.sizes()));
  }
  auto self = info.This().As<Napi::Object>();
  self.Set("tensors", tensors);
  self.Set("parameterCount", static_cast<double>(contents.parameter_count));
  self.Set("hasValueHead", contents.has_value_head);
  self.Set("version", static_cast<double>(contents.version));
}

Napi::Value ModelObject::save(const Napi::CallbackInfo& info) {
  const auto bytes = numbers<uint8_t>(info[1]);
  const auto part = info[2].As<Napi::Object>();
  auto work = [model = model_, path = info[0].As<Napi::String>().Utf8Value(),
               header = std::string(bytes.begin(), bytes.end()), first = integer(part, "first"),
               count = integer(part, "count")](const LongCall& call) {
    const auto all = model->get()->parameters();
    write_tensors(path, header, {all.begin() + first, all.begin() + first + count}, call);
    return EngineThread::Deliver();
  };
  return engine_.thread->submit(info.Env(), std::move(work), info[3]);
}

Napi::Value ModelObject::clone(const Napi::CallbackInfo& info) {
  auto work = [engine = engine_, model = model_, value_head = flag(info[0].As<Napi::Object>(), "valueHead")](
                  const LongCall&) { return deliver(engine, model->get()->clone(value_head)); };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value ModelObject::add_adapter(const Napi::CallbackInfo& info) {
  const auto options = info[0].As<Napi::Object>();
  auto work = [engine = engine_, model = model_, adapter = adapter_config(object_at(options, "adapter")),
               value_head = flag(options, "valueHead"),
               seed = static_cast<uint64_t>(integer(options, "seed"))](const LongCall&) {
    return deliver(engine, Model::add_adapter(model->get(), adapter, value_head, seed));
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value ModelObject::load_adapter(const Napi::CallbackInfo& info) {
  auto work = [engine = engine_, model = model_, adapter = adapter_config(info[0].As<Napi::Object>()),
               entries = tensor_entries(info[1])](const LongCall& call) {
    return deliver(engine, Model::load_adapter(model->get(), adapter, entries, call));
  };
  return engine_.thread->submit(info.Env(), std::move(work), info[2]);
}

Napi::Value ModelObject::backbone(const Napi::CallbackInfo& info) {
  auto work = [engine = engine_, model = model_](const LongCall&) {
    return deliver(engine, model->get()->backbone());
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value ModelObject::merge(const Napi::CallbackInfo& info) {
  auto work = [engine = engine_, model = model_](const LongCall&) {
    return deliver(engine, model->get()->merge());
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value ModelObject::copy_from(const Napi::CallbackInfo& info) {
  auto work = [model = model_, source = Unwrap(info[0].As<Napi::Object>())->model_](const LongCall&) {
    model->get()->copy_from(*source->get());
    return [version = model->get()->own_version()](Napi::Env env) -> Napi::Value {
      return Napi::Number::New(env, static_cast<double>(version));
    };
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value ModelObject::score(const Napi::CallbackInfo& info) {
  const auto batch = info[0].As<Napi::Object>();
  const auto asked = info[1].As<Napi::Object>();
  ScoreOptions options;
  options.log_probs = flag(asked, "logProbs");
  options.entropy = flag(asked, "entropy");
  options.values = flag(asked, "values");
  options.temperature = number(asked, "temperature");
  auto work = [model = model_, options, tokens = numbers<int32_t>(batch.Get("tokens")),
               offsets = numbers<uint32_t>(batch.Get("offsets"))](const LongCall& call) {
    auto scores = std::make_shared<Scores>(model->get()->score({tokens, offsets}, options, call));
    return [scores, options](Napi::Env env) -> Napi::Value {
      auto result = Napi::Object::New(env);
      if (options.log_probs) result.Set("logProbs", typed_array(env, scores->log_probs));
      if (options.entropy) result.Set("entropy", typed_array(env, scores->entropy));
      if (options.values) result.Set("values", typed_array(env, scores->values));
      return result;
    };
  };
  return engine_.thread->submit(info.Env(), std::move(work), info[2]);
}

Napi::Value ModelObject::open_session(const Napi::CallbackInfo& info) {
  const auto options = info[0].As<Napi::Object>();
  auto work = [engine = engine_, model = model_, slots = integer(options, "slots"),
               max_tokens = integer(options, "maxTokens"),
               seed = static_cast<uint64_t>(integer(options, "seed"))](const LongCall&) {
    return SessionObject::deliver(engine, model,
                                  std::make_shared<Session>(model->get(), slots, max_tokens, seed));
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value ModelObject::dispose(const Napi::CallbackInfo& info) {
  auto work = [model = model_](const LongCall&) {
    model->dispose();
    return EngineThread::Deliver();
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

}  // namespace spa::binding
