// Bad accesses of a kernel, as faults of its launch.
#pragma once

#include <csetjmp>
#include <string>

namespace cuda_on_cpu {

/// While one lives, signals that a bad access or instruction raises jump to landing(). Under AddressSanitizer
/// it does nothing: the report that ends the process says more.
class SignalWatch {
 public:
  SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  ~SignalWatch();

  /// For sigsetjmp.
  static sigjmp_buf& landing();
  /// What the last signal meant, with the address.
  static std::string text();
};

}  // namespace cuda_on_cpu
