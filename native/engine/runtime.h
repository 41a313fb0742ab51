// Process-wide settings of libtorch (threads, matmul precision, determinism): the only place that touches
// them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace spa {

/// Held by every engine. The first lease of a process decides the settings, later ones must want the same
/// ones until all are gone.
class RuntimeLease {
 public:
  /// `threads` >= 1. Throws BAD_ARGUMENT if a live lease was taken with another number of threads.
  explicit RuntimeLease(int threads);
  ~RuntimeLease();
  RuntimeLease(const RuntimeLease&) = delete;
  RuntimeLease& operator=(const RuntimeLease&) = delete;

  int threads() const { return threads_; }

  /// Must be called once on the thread that will run the engine's work (OpenMP's team size is per thread).
  void enter_thread() const;

 private:
  int threads_;
};

/// "cpu", "cuda" or "auto" -> a device that exists. Throws UNSUPPORTED when "cuda" is asked for and there is
/// none.
at::Device resolve_device(const std::string& name);

/// Bytes held by tensors and caches of this process: now and at most since the start. On the CPU the resident
/// set size.
struct MemoryUse {
  uint64_t current = 0;
  uint64_t peak = 0;
};
MemoryUse memory_use(at::Device device);

/// A sensible default for `threads`: the cores this process may run on.
int available_cores();

}  // namespace spa
