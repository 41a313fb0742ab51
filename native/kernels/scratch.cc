#include "kernels/cpu/scratch.h"

#include <c10/core/CPUAllocator.h>

namespace spa::kernels::cpu {
namespace {

struct Buffers {
  c10::DataPtr data[static_cast<int>(Scratch::count)];
  int64_t size[static_cast<int>(Scratch::count)] = {};
};

}  // namespace

float* scratch(Scratch kind, int64_t floats) {
  thread_local Buffers buffers;
  const int i = static_cast<int>(kind);
  if (buffers.size[i] < floats) {
    buffers.data[i].clear();
    buffers.size[i] = 0;
    const int64_t size = (with_spare(floats) + 1023) / 1024 * 1024;
    // libtorch's allocator counts the bytes; its blocks are 64-byte aligned.
    buffers.data[i] = c10::GetCPUAllocator()->allocate(static_cast<size_t>(size) * sizeof(float));
    buffers.size[i] = size;
  }
  return static_cast<float*>(buffers.data[i].get());
}

}  // namespace spa::kernels::cpu
