// Process-wide settings of libtorch (threads, matmul precision, determinism); touched here alone.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace spa {

/// Held by every engine. The first lease of a process decides the settings, later ones must want the same
/// ones until all are gone. A memory limit is of all engines on a device, and goes with the last lease that
/// asked for one. The peak of a device's memory starts anew with its first lease.
class RuntimeLease {
 public:
  /// `threads` >= 1; `memory_limit` in bytes, 0 for none or for what other leases have asked for. Throws
  /// BAD_ARGUMENT if a live lease was taken with another number of threads or another limit, and what
  /// set_memory_limit throws.
  explicit RuntimeLease(int threads, at::Device device = at::kCPU, int64_t memory_limit = 0);
  ~RuntimeLease();
  RuntimeLease(const RuntimeLease&) = delete;
  RuntimeLease& operator=(const RuntimeLease&) = delete;

  int threads() const { return threads_; }

  /// Must be called once on the thread that will run the engine's work (OpenMP's team size is per thread).
  void enter_thread() const;

 private:
  int threads_;
  at::Device device_;
  bool is_limited_;
};

/// "cpu", "cuda" or "auto" -> a device that exists. Throws UNSUPPORTED for "cuda" where there is none.
at::Device resolve_device(const std::string& name);

}  // namespace spa
