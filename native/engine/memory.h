// The memory of a device as the engine sees it: what is in use, the most that may be, and running out of it.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <exception>

namespace spa {

/// Bytes that tensors and scratch buffers of this process take on a device. On a GPU the caching allocator's
/// figures; what it keeps for later and the CUDA context are not in them.
struct MemoryUse {
  uint64_t current = 0;
  uint64_t peak = 0;   // since the device's first lease or reset_peak_memory()
  uint64_t limit = 0;  // 0: none
};

/// `limit`: what was last set, for it is not kept by every allocator.
MemoryUse memory_use(at::Device device);
void reset_peak_memory(at::Device device);

/// From now on an allocation that would take more than `bytes` in all fails, and with it the call that needs
/// it (see is_out_of_memory). 0: no limit. Throws UNSUPPORTED where the device's allocator knows no limit,
/// BAD_ARGUMENT when the limit is above the device's memory.
void set_memory_limit(at::Device device, int64_t bytes);

/// Gives blocks that the allocator keeps for later back to the device.
void release_cached_memory(at::Device device);

/// Whether an exception says that there is too little memory: a limit was reached, or the device is full.
bool is_out_of_memory(const std::exception_ptr& exception);

/// The first line of an exception's message; the rest may be a C++ backtrace.
std::string first_line_of(const std::exception_ptr& exception);

}  // namespace spa
