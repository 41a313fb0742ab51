// From C++ exceptions to SpaError.
#pragma once

#include <napi.h>

#include <exception>
#include <string>

namespace spa::binding {

/// What a SpaError is made of; plain data, so that it can leave the thread on which it arose.
struct Failure {
  std::string code;
  std::string message;
  std::string hint;
};

/// spa::Error keeps its code. Errors of libtorch and of the standard library become OUT_OF_MEMORY or INTERNAL
/// with the first line of their message: the rest is a C++ backtrace.
Failure failure_of(std::exception_ptr exception);

/// A new SpaError. JavaScript thread only.
Napi::Value make_error(Napi::Env env, const Failure& failure);

/// Throws a SpaError into JavaScript.
[[noreturn]] void throw_error(Napi::Env env, const Failure& failure);

/// Runs `body` and turns what it throws into a SpaError; JavaScript's own exceptions pass.
template <class Body>
auto guarded(Napi::Env env, Body&& body) {
  try {
    return body();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throw_error(env, failure_of(std::current_exception()));
  }
}

}  // namespace spa::binding
