// Stackful fibers: the threads of a block.
#pragma once

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_on_cpu {

/// Whether this build runs under AddressSanitizer, which has reports of its own for bad accesses.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool has_address_sanitizer = true;
#else
constexpr bool has_address_sanitizer = false;
#endif

/// Where one side goes on when the other one yields.
#if defined(__x86_64__)
using Context = void*;  // the stack pointer, above registers that a call preserves
#else
using Context = ucontext_t;
#endif

/// A stack with a function that runs on it. A fiber that is dropped half-way is never unwound: kernels own
/// nothing that a destructor would have to free.
class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  ~Fiber();

  /// Makes the next resume() call `body`, which must not return: it ends with finish().
  void start(void (*body)());
  /// Runs the fiber, from outside of all fibers, until it yields or has finished.
  void resume();
  /// Goes back to resume(). Called on the running fiber.
  void yield();
  [[noreturn]] void finish();

 private:
  static constexpr size_t stack_bytes = has_address_sanitizer ? 128 * 1024 : 64 * 1024;

  static void enter();

  char* stack_;  // above a page that may not be touched
  void (*body_)() = nullptr;
  Context inside_{}, outside_{};
  void* sanitizer_state_ = nullptr;
  const void* outer_stack_ = nullptr;  // AddressSanitizer's names for the stack of resume()
  size_t outer_size_ = 0;
};

}  // namespace cuda_on_cpu
