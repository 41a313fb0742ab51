#include "binding/session_object.h"

#include "binding/convert.h"
#include "binding/environment.h"

namespace spa::binding {

struct SessionObject::Contents {
  EngineHandle engine;
  std::shared_ptr<Resident<Session>> session;
};

Napi::Function SessionObject::define(Napi::Env env) {
  return DefineClass(
      env, "Session",
      {InstanceMethod<&SessionObject::extend>("extend"), InstanceMethod<&SessionObject::fork>("fork"),
       InstanceMethod<&SessionObject::generate>("generate"),
       InstanceMethod<&SessionObject::release>("release"),
       InstanceMethod<&SessionObject::release_all>("releaseAll"),
       InstanceMethod<&SessionObject::dispose>("dispose")});
}

EngineThread::Deliver SessionObject::deliver(const EngineHandle& engine,
                                             const std::shared_ptr<Resident<Model>>& model,
                                             std::shared_ptr<Session> session) {
  auto contents = std::make_shared<Contents>();
  contents->engine = engine;
  contents->session = std::make_shared<Resident<Session>>("session");
  contents->session->set(std::move(session));
  model->add_dependent(contents->session);
  engine.thread->adopt(contents->session);
  return [contents](Napi::Env env) -> Napi::Value {
    return Environment::of(env).session_class.New({Napi::External<Contents>::New(env, contents.get())});
  };
}

SessionObject::SessionObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SessionObject>(info) {
  const Contents& contents = *info[0].As<Napi::External<Contents>>().Data();
  engine_ = contents.engine;
  session_ = contents.session;
}

Napi::Value SessionObject::run(const Napi::CallbackInfo& info,
                               std::function<void(Session&, const LongCall&)> work, Napi::Value progress) {
  auto job = [session = session_, work = std::move(work)](const LongCall& call) {
    work(*session->get(), call);
    return EngineThread::Deliver();
  };
  return engine_.thread->submit(info.Env(), std::move(job), progress);
}

Napi::Value SessionObject::extend(const Napi::CallbackInfo& info) {
  const auto batch = info[1].As<Napi::Object>();
  auto work = [slots = numbers<int32_t>(info[0]), tokens = numbers<int32_t>(batch.Get("tokens")),
               offsets = numbers<uint32_t>(batch.Get("offsets"))](Session& session, const LongCall& call) {
    session.extend(slots, {tokens, offsets}, call);
  };
  return run(info, std::move(work), info[2]);
}

Napi::Value SessionObject::fork(const Napi::CallbackInfo& info) {
  std::optional<int64_t> length;
  if (info[2].IsNumber()) length = info[2].As<Napi::Number>().Int64Value();
  auto work = [slot = info[0].As<Napi::Number>().Int64Value(), targets = numbers<int32_t>(info[1]), length](
                  Session& session, const LongCall&) { session.fork(slot, targets, length); };
  return run(info, std::move(work), info.Env().Undefined());
}

Napi::Value SessionObject::generate(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  GenerateRequest request;
  request.slots = numbers<int32_t>(info[0]);
  request.max_new_tokens = numbers<int32_t>(options.Get("maxNewTokens"));
  const auto streams = numbers<double>(options.Get("streams"));
  request.streams.assign(streams.begin(), streams.end());
  request.stop_tokens = numbers<int32_t>(options.Get("stopTokens"));
  request.sampling.temperature = number(options, "temperature");
  request.sampling.top_k = integer(options, "topK");
  request.sampling.top_p = number(options, "topP");
  auto work = [session = session_, request = std::move(request)](const LongCall& call) {
    auto result = std::make_shared<GenerateResult>(session->get()->generate(request, call));
    return [result](Napi::Env env) -> Napi::Value {
      auto object = Napi::Object::New(env);
      object.Set("tokens", typed_array(env, result->tokens));
      object.Set("logProbs", typed_array(env, result->log_probs));
      object.Set("offsets", typed_array(env, result->offsets));
      std::vector<uint8_t> finish;
      for (const Finish reason : result->finish) finish.push_back(static_cast<uint8_t>(reason));
      object.Set("finish", typed_array(env, finish));
      return object;
    };
  };
  return engine_.thread->submit(info.Env(), std::move(work), info[2]);
}

Napi::Value SessionObject::release(const Napi::CallbackInfo& info) {
  auto work = [slots = numbers<int32_t>(info[0])](Session& session, const LongCall&) {
    session.release(slots);
  };
  return run(info, std::move(work), info.Env().Undefined());
}

Napi::Value SessionObject::release_all(const Napi::CallbackInfo& info) {
  return run(info, [](Session& session, const LongCall&) { session.release_all(); }, info.Env().Undefined());
}

Napi::Value SessionObject::dispose(const Napi::CallbackInfo& info) {
  auto work = [session = session_](const LongCall&) {
    session->dispose();
    return EngineThread::Deliver();
  };
  return engine_.thread->submit(info.Env(), std::move(work), info.Env().Undefined());
}

}  // namespace spa::binding
