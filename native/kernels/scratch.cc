#include "kernels/cpu/scratch.h"

#include <cstdlib>
#include <new>

namespace spa::kernels::cpu {
namespace {

struct Buffers {
  float* data[static_cast<int>(Scratch::count)] = {};
  int64_t size[static_cast<int>(Scratch::count)] = {};

  ~Buffers() {
    for (float* buffer : data) std::free(buffer);
  }
};

}  // namespace

float* scratch(Scratch kind, int64_t floats) {
  thread_local Buffers buffers;
  const int i = static_cast<int>(kind);
  if (buffers.size[i] < floats) {
    std::free(buffers.data[i]);
    buffers.size[i] = 0;
    const int64_t size = (floats * 5 / 4 + 1023) / 1024 * 1024;
    buffers.data[i] = static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(size) * sizeof(float)));
    if (!buffers.data[i]) throw std::bad_alloc();
    buffers.size[i] = size;
  }
  return buffers.data[i];
}

}  // namespace spa::kernels::cpu
