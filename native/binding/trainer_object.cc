#include "binding/trainer_object.h"

#include <exception>
#include <utility>

#include "binding/convert.h"
#include "binding/environment.h"
#include "binding/errors.h"

namespace spa::binding {
namespace {

/// A safetensors file to write: NativeFile.
struct StateFile {
  std::string path, header;
};

StateFile state_file(const Napi::Value& value) {
  if (!value.IsObject()) return {};
  const auto object = value.As<Napi::Object>();
  const auto header = numbers<uint8_t>(object.Get("header"));
  return {text(object, "path"), std::string(header.begin(), header.end())};
}

Napi::Value tensor_infos(Napi::Env env, const std::vector<NamedTensor>& tensors) {
  auto infos = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    infos.Set(i, tensor_info(env, name, tensor.scalar_type(), tensor.sizes()));
  }
  return infos;
}

}  // namespace

Napi::Function TrainerObject::define(Napi::Env env) {
  return DefineClass(
      env, "Trainer",
      {InstanceMethod<&TrainerObject::step>("step"), InstanceMethod<&TrainerObject::describe>("describe"),
       InstanceMethod<&TrainerObject::save_state>("saveState"),
       InstanceMethod<&TrainerObject::load_state>("loadState"),
       InstanceMethod<&TrainerObject::dispose>("dispose")});
}

Napi::Value TrainerObject::create(Napi::Env env, const EngineHandle& engine,
                                  const std::shared_ptr<Resident<Model>>& model,
                                  const std::shared_ptr<Resident<Model>>& critic,
                                  const TrainerOptions& options) {
  const double learning_rate = options.optimizer.learning_rate * options.schedule.factor(0);
  Contents contents{engine, model, critic, std::make_shared<Resident<Trainer>>("trainer"), learning_rate};
  engine.thread->adopt(contents.trainer);
  engine.thread->post([trainer = contents.trainer, model, critic, options] {
    try {
      trainer->set(std::make_shared<Trainer>(model->get(), critic ? critic->get() : nullptr, options));
      model->add_dependent(trainer);
      if (critic && critic != model) critic->add_dependent(trainer);
    } catch (...) {
      trainer->fail(std::current_exception());
    }
  });
  return Environment::of(env).trainer_class.New({Napi::External<Contents>::New(env, &contents)});
}

TrainerObject::TrainerObject(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TrainerObject>(info), contents_(*info[0].As<Napi::External<Contents>>().Data()) {
  info.This().As<Napi::Object>().Set("initialLearningRate", contents_.initial_learning_rate);
}

Napi::Value TrainerObject::step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    auto batch = std::make_shared<const OwnedTrainBatch>(info[0].As<Napi::Object>());
    auto work = [contents = contents_, batch,
                 loss = loss_options(info[1].As<Napi::Object>())](const LongCall& call) {
      Trainer& trainer = *contents.trainer->get();
      const StepMetrics metrics = trainer.step(batch->view(), loss, call);
      const double steps = static_cast<double>(trainer.step_count());
      const double model_version = static_cast<double>(contents.model->get()->own_version());
      const double critic_version =
          contents.critic ? static_cast<double>(contents.critic->get()->own_version()) : model_version;
      const double next_rate = trainer.learning_rate();
      return [metrics, steps, next_rate, model_version, critic_version](Napi::Env env) -> Napi::Value {
        auto result = Napi::Object::New(env);
        result.Set("figures", figures(env, metrics));
        result.Set("stepCount", steps);
        result.Set("nextLearningRate", next_rate);
        result.Set("modelVersion", model_version);
        result.Set("criticVersion", critic_version);
        return result;
      };
    };
    return contents_.engine.thread->submit(info.Env(), std::move(work), info[2]);
  });
}

Napi::Value TrainerObject::describe(const Napi::CallbackInfo& info) {
  auto work = [resident = contents_.trainer](const LongCall&) {
    return [state = resident->get()->export_state()](Napi::Env env) -> Napi::Value {
      auto result = Napi::Object::New(env);
      result.Set("actor", tensor_infos(env, state.actor));
      result.Set("critic", tensor_infos(env, state.critic));
      return result;
    };
  };
  return contents_.engine.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value TrainerObject::save_state(const Napi::CallbackInfo& info) {
  auto work = [resident = contents_.trainer, actor = state_file(info[0]),
               critic = state_file(info[1])](const LongCall&) {
    const TrainerState state = resident->get()->export_state();
    write_tensors(actor.path, actor.header, state.actor);
    if (!critic.path.empty()) write_tensors(critic.path, critic.header, state.critic);
    return [steps = static_cast<double>(state.step_count)](Napi::Env env) -> Napi::Value {
      return Napi::Number::New(env, steps);
    };
  };
  return contents_.engine.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value TrainerObject::load_state(const Napi::CallbackInfo& info) {
  auto work = [resident = contents_.trainer, steps = info[0].As<Napi::Number>().Int64Value(),
               actor = tensor_entries(info[1]), critic = tensor_entries(info[2])](const LongCall& call) {
    Trainer& trainer = *resident->get();
    trainer.import_state({steps, read_tensors(actor, call), read_tensors(critic, call)});
    return [rate = trainer.learning_rate()](Napi::Env env) -> Napi::Value {
      return Napi::Number::New(env, rate);
    };
  };
  return contents_.engine.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

Napi::Value TrainerObject::dispose(const Napi::CallbackInfo& info) {
  auto work = [trainer = contents_.trainer](const LongCall&) {
    trainer->dispose();
    return EngineThread::Deliver();
  };
  return contents_.engine.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

}  // namespace spa::binding
