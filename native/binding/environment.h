// What the addon keeps for one JavaScript environment (the main thread or a worker): nothing is static.
#pragma once

#include <napi.h>

namespace spa::binding {

class Environment {
 public:
  /// The environment's instance, made when the addon is loaded into it.
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  Napi::Function error_class() const { return error_class_.Value(); }

  /// Constructors of the wrapped classes, for objects that native calls resolve to.
  Napi::FunctionReference model_class;
  Napi::FunctionReference session_class;
  Napi::FunctionReference trainer_class;

  void set_error_class(Napi::Function function) { error_class_ = Napi::Persistent(function); }

 private:
  Napi::FunctionReference error_class_;
};

}  // namespace spa::binding
