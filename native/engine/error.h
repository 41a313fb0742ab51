// The one exception type of the native code. The binding turns it into a SpaError with the same code.
#pragma once

#include <stdexcept>
#include <string>

namespace spa {

/// What went wrong (`what()`), its stable code (see lib/errors.ts) and what to do about it (may be empty).
struct Error : std::runtime_error {
  Error(std::string error_code, const std::string& message, std::string error_hint = {})
      : std::runtime_error(message), code(std::move(error_code)), hint(std::move(error_hint)) {}

  std::string code;
  std::string hint;
};

/// An invariant that keeps memory safe. Bad arguments have been refused with words before they get here
/// (lib/engine, lib/formats), so that one which does not hold is a defect of this package: INTERNAL.
inline void require(bool holds, const char* invariant) {
  if (!holds) throw Error("INTERNAL", std::string("this does not hold: ") + invariant);
}

}  // namespace spa
