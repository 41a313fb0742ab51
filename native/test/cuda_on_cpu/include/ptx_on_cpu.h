// The functions of kernels/cuda/ptx.cuh, which says what they do.
#pragma once

#include <bit>
#include <cstdint>

#include "../machine.h"

namespace spa::kernels::cuda {

template <typename T>
T* dynamic_shared() {
  return static_cast<T*>(cuda_on_cpu::dynamic_shared_memory());
}

inline void cp_async_16(void* shared, const void* global,
                        std::source_location place = std::source_location::current()) {
  const auto bits = reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global);
  if (bits % 16 != 0) cuda_on_cpu::fault("cp.async of 16 bytes from or to a misaligned address", place);
  cuda_on_cpu::copy_later(shared, global, 16);
}

inline void cp_async_commit() { cuda_on_cpu::close_copy_group(); }

template <int groups>
void cp_async_wait() {
  cuda_on_cpu::wait_for_copies(groups);
}

struct MmaFragments {
  float (&d)[4];
  const uint32_t (&a)[4];
  const uint32_t (&b)[2];
};

/// The whole product, in float32 and in the order of the depth; the hardware's order is its own.
inline void multiply_fragments(void* const (&requests)[cuda_on_cpu::warp_lanes], uint32_t) {
  const auto of = [&](int lane) { return static_cast<const MmaFragments*>(requests[lane]); };
  const auto half = [](uint32_t pair, int which) { return std::bit_cast<float>(pair >> 16 * which << 16); };
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 8; ++i)
      a[g + i / 2 % 2 * 8][2 * t + i % 2 + i / 4 * 8] = half(of(lane)->a[i / 2], i % 2);
    for (int i = 0; i < 4; ++i) b[2 * t + i % 2 + i / 2 * 8][g] = half(of(lane)->b[i / 2], i % 2);
  }
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + i / 2 * 8, column = 2 * (lane % 4) + i % 2;
      for (int k = 0; k < 16; ++k) of(lane)->d[i] += a[row][k] * b[k][column];
    }
  }
}

inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     std::source_location place = std::source_location::current()) {
  MmaFragments own{d, a, b};
  cuda_on_cpu::wait_for_warp(0xffffffffu, multiply_fragments, &own, place);
}

}  // namespace spa::kernels::cuda
