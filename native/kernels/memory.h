// The memory of tensors on the CPU: every byte is counted, and a limit can be set.
#pragma once

#include <cstdint>

namespace spa::kernels {

/// Bytes of tensors and scratch buffers, as the allocator's blocks are large. Mapped files do not count.
struct HostMemory {
  int64_t current = 0;
  int64_t peak = 0;   // since the start or reset_host_peak()
  int64_t limit = 0;  // 0: none
};

/// Registers the counting allocator with libtorch, once in a process, however often it is called. Tensors
/// made before are not counted.
void install_host_allocator();

/// From now on an allocation that would take more than `bytes` in all throws c10::OutOfMemoryError. 0: no
/// limit.
void set_host_memory_limit(int64_t bytes);

HostMemory host_memory();
void reset_host_peak();

}  // namespace spa::kernels
