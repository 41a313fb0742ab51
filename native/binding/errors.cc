#include "binding/errors.h"

#include "binding/environment.h"
#include "engine/error.h"
#include "engine/memory.h"

namespace spa::binding {
namespace {

Failure out_of_memory(const std::string& detail) {
  return {"OUT_OF_MEMORY", "there is not enough memory: " + detail,
          "use smaller micro-batches, fewer or shorter slots, bfloat16 or a smaller model"};
}

Failure internal(const std::string& message) {
  return {"INTERNAL", "native code failed: " + message, "this is a defect of spa-ai; please report it"};
}

}  // namespace

Failure failure_of(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return error.code == "INTERNAL" ? internal(error.what()) : Failure{error.code, error.what(), error.hint};
  } catch (...) {
    const std::string message = first_line_of(exception);
    return is_out_of_memory(exception) ? out_of_memory(message) : internal(message);
  }
}

Napi::Value make_error(Napi::Env env, const Failure& failure) {
  const auto code = Napi::String::New(env, failure.code);
  const auto message = Napi::String::New(env, failure.message);
  auto options = Napi::Object::New(env);
  if (!failure.hint.empty()) options.Set("hint", failure.hint);
  return Environment::of(env).error_class().New({code, message, options});
}

void throw_error(Napi::Env env, const Failure& failure) { throw Napi::Error(env, make_error(env, failure)); }

}  // namespace spa::binding
