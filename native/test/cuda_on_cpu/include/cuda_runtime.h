// The part of CUDA that the kernels use, for an ordinary C++ compiler: what <cuda_runtime.h> is to nvcc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

#include "../cuda_types.h"
#include "../machine.h"

// --- the language
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// The machine finds thread-local variables, and poisons them before each block.
#define __shared__ static thread_local

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

// --- the runtime
struct CUstream_st;
using cudaStream_t = CUstream_st*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719,
};
const char* cudaGetErrorString(cudaError_t error);

struct cudaLaunchAttribute;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

namespace cuda_on_cpu {

/// Whether a card of compute capability 8.0 takes this launch.
cudaError_t check_launch(const cudaLaunchConfig_t& config, const void* kernel);
cudaError_t allow_shared_memory(const void* kernel, size_t bytes);

}  // namespace cuda_on_cpu

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const cudaError_t error = cuda_on_cpu::check_launch(*config, reinterpret_cast<const void*>(kernel));
  if (error != cudaSuccess) return error;
  const auto call = [&] { kernel(static_cast<Parameters>(arguments)...); };
  const auto body = [](const void* context) { (*static_cast<decltype(call)*>(context))(); };
  return cuda_on_cpu::run_grid(config->gridDim, config->blockDim, config->dynamicSmemBytes, body, &call)
             ? cudaSuccess
             : cudaErrorLaunchFailure;
}

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute, int value) {
  return cuda_on_cpu::allow_shared_memory(reinterpret_cast<const void*>(kernel), static_cast<size_t>(value));
}

#include "device_functions.h"
