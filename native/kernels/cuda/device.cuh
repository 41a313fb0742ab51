// What the CUDA kernels share: element types, reductions over a block, launch sizes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/kernels.h"

namespace spa::kernels::cuda {

constexpr int block_threads = 256;
constexpr int warp_threads = 32;

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T>
__device__ inline T narrow(float x);
template <>
__device__ inline float narrow<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

/// As many elements as one load takes, 16 bytes.
template <typename T>
struct alignas(16) Pack {
  static constexpr int size = 16 / sizeof(T);
  T element[size];
};

/// The pack at a 16-byte aligned place.
template <typename T>
__device__ inline Pack<T> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T>*>(p);
}

struct Sum {
  static constexpr float neutral = 0.0f;
  __device__ float operator()(float a, float b) const { return a + b; }
};

struct Maximum {
  static constexpr float neutral = -3.402823466e+38f;
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// Combines one value of each thread of a block of block_threads; all threads receive the result. The order
/// is fixed.
template <typename Combine>
__device__ float block_reduce(float value, Combine combine) {
  __shared__ float warps[block_threads / warp_threads];
  for (int offset = warp_threads / 2; offset > 0; offset /= 2) {
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
  }
  __syncthreads();  // an earlier reduction may still be reading
  if (threadIdx.x % warp_threads == 0) warps[threadIdx.x / warp_threads] = value;
  __syncthreads();
  float result = Combine::neutral;
  for (int i = 0; i < block_threads / warp_threads; ++i) result = combine(result, warps[i]);
  return result;
}

/// Blocks of block_threads for n elements, one each.
inline unsigned blocks_for(int64_t n) {
  return static_cast<unsigned>((n + block_threads - 1) / block_threads);
}

/// Calls f with a null pointer of an element's type: float or __nv_bfloat16.
template <typename F>
void with_element(Element element, const F& f) {
  if (element == Element::bfloat16) {
    f(static_cast<__nv_bfloat16*>(nullptr));
  } else {
    f(static_cast<float*>(nullptr));
  }
}

}  // namespace spa::kernels::cuda
