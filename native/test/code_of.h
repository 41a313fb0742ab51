// The code of the error that a call ends with.
#pragma once

#include <string>

#include "engine/error.h"

namespace spa::test {

/// Empty where the call ends well.
template <typename Call>
std::string code_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.code;
  }
  return "";
}

}  // namespace spa::test
