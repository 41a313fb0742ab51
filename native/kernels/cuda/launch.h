// The one way in which kernels are launched: `<<<>>>` as a function, with the place of the call for errors.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <source_location>

namespace spa::kernels::cuda {

struct Launch {
  dim3 grid, block;
  cudaStream_t stream = nullptr;
  size_t shared = 0;  // bytes of dynamic shared memory
  std::source_location place = std::source_location::current();
};

/// Throws the error of a launch, with its place. Defined by whoever links the kernels.
[[noreturn]] void throw_launch_error(cudaError_t error, const std::source_location& place);

/// Dynamic shared memory that a kernel gets without asking: 48 KiB less what it has of static.
constexpr size_t default_shared = 32 * 1024;

template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), const Launch& how, Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid;
  config.blockDim = how.block;
  config.dynamicSmemBytes = how.shared;
  config.stream = how.stream;
  cudaError_t error = cudaSuccess;
  if (how.shared > default_shared) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(how.shared));
  }
  if (error == cudaSuccess) error = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (error != cudaSuccess) throw_launch_error(error, how.place);
}

}  // namespace spa::kernels::cuda
