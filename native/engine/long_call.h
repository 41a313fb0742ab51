// How a long call is watched and stopped from another thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "engine/error.h"

namespace spa {

/// Handed to every long call. Both members may be empty. `progress(done, total)` runs on the engine's thread.
struct LongCall {
  const std::atomic<bool>* abort = nullptr;
  std::function<void(int64_t done, int64_t total)> progress;

  bool aborted() const { return abort != nullptr && abort->load(std::memory_order_relaxed); }

  /// Throws ABORTED if the flag is set. The callee guarantees that nothing has been changed at such a point.
  void check() const {
    if (aborted()) throw Error("ABORTED", "the operation was aborted");
  }

  void report(int64_t done, int64_t total) const {
    if (progress) progress(done, total);
  }
};

}  // namespace spa
