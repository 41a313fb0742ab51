// What the CUDA kernels share: element types, reductions over a block, launch sizes.
#pragma once

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_bf16.h>

#include <cstdint>

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

inline cudaStream_t current_stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

/// Calls f with a null pointer of the element type of `tensor`: float or __nv_bfloat16.
template <typename F>
void with_element(const at::Tensor& tensor, const F& f) {
  if (tensor.scalar_type() == at::kBFloat16) {
    f(static_cast<__nv_bfloat16*>(nullptr));
  } else {
    f(static_cast<float*>(nullptr));
  }
}

template <typename T>
T* data_of(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

}  // namespace spa::kernels::cuda
