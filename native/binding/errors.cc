#include "binding/errors.h"

#include <c10/util/Exception.h>

#include <new>

#include "binding/environment.h"
#include "engine/error.h"

namespace spa::binding {
namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

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
    return {error.code, error.what(), error.hint};
  } catch (const c10::OutOfMemoryError& error) {
    return out_of_memory(first_line(error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    const std::string message = first_line(error.what_without_backtrace());
    // libtorch's CPU allocator throws its general error.
    const bool allocation = message.find("allocate memory") != std::string::npos;
    return allocation ? out_of_memory(message) : internal(message);
  } catch (const std::bad_alloc& error) {
    return out_of_memory(error.what());
  } catch (const std::exception& error) {
    return internal(first_line(error.what()));
  } catch (...) {
    return internal("an exception of unknown type");
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
