#include "kernels/memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <mutex>
#include <new>
#include <string>

#ifdef __APPLE__
#include <malloc/malloc.h>
#else
#include <malloc.h>
#endif

namespace spa::kernels {
namespace {

std::atomic<int64_t> current_bytes{0}, peak_bytes{0}, limit_bytes{0};

/// What a block really takes; known without a table from its address alone.
int64_t block_size(void* data) {
#ifdef __APPLE__
  return static_cast<int64_t>(malloc_size(data));
#else
  return static_cast<int64_t>(malloc_usable_size(data));
#endif
}

void raise_peak(int64_t bytes) {
  int64_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (bytes > peak && !peak_bytes.compare_exchange_weak(peak, bytes, std::memory_order_relaxed)) {
  }
}

std::string megabytes(int64_t bytes) { return std::to_string((bytes + (1 << 19)) >> 20) + " MiB"; }

[[noreturn]] void throw_over_limit(int64_t wanted, int64_t held, int64_t limit) {
  C10_THROW_ERROR(OutOfMemoryError, megabytes(wanted) + " were asked for, " + megabytes(held) +
                                        " are in use and the limit is " + megabytes(limit));
}

void release(void* data) {
  if (data == nullptr) return;
  current_bytes.fetch_sub(block_size(data), std::memory_order_relaxed);
  c10::free_cpu(data);
}

/// libtorch's own allocation, counted. Atomics only: small models allocate some thousand times a second.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    const auto wanted = static_cast<int64_t>(bytes);
    const int64_t limit = limit_bytes.load(std::memory_order_relaxed);
    // Counted before it is there, so that threads cannot pass the limit together.
    const int64_t before = current_bytes.fetch_add(wanted, std::memory_order_relaxed);
    if (limit > 0 && wanted > 0 && before + wanted > limit) {
      current_bytes.fetch_sub(wanted, std::memory_order_relaxed);
      throw_over_limit(wanted, before, limit);
    }
    void* data = nullptr;
    try {
      data = c10::alloc_cpu(bytes);
    } catch (...) {
      current_bytes.fetch_sub(wanted, std::memory_order_relaxed);
      throw;
    }
    const int64_t rest = (data == nullptr ? 0 : block_size(data)) - wanted;
    raise_peak(current_bytes.fetch_add(rest, std::memory_order_relaxed) + rest);
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* target, const void* source, std::size_t count) const override {
    default_copy_data(target, source, count);
  }
};

}  // namespace

void install_host_allocator() {
  static std::once_flag once;
  // Never freed: tensors may outlive every static object.
  std::call_once(once, [] { c10::SetCPUAllocator(new CountingAllocator()); });
}

void set_host_memory_limit(int64_t bytes) { limit_bytes.store(bytes, std::memory_order_relaxed); }

HostMemory host_memory() {
  return {current_bytes.load(std::memory_order_relaxed), peak_bytes.load(std::memory_order_relaxed),
          limit_bytes.load(std::memory_order_relaxed)};
}

void reset_host_peak() {
  peak_bytes.store(current_bytes.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

}  // namespace spa::kernels
