// Launches: what the runtime accepts, and what it answers.
#include <cuda_runtime.h>

#include <map>

namespace {

constexpr size_t shared_by_default = 48 * 1024, most_shared = 163 * 1024;
std::map<const void*, size_t> allowed_shared;

}  // namespace

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorLaunchFailure:
      break;
  }
  return cuda_on_cpu::fault_text();
}

namespace cuda_on_cpu {

cudaError_t check_launch(const cudaLaunchConfig_t& config, const void* kernel) {
  const dim3 &grid = config.gridDim, &block = config.blockDim;
  const bool fits = grid.x >= 1 && grid.y >= 1 && grid.z >= 1 && grid.x <= 0x7fffffffu && grid.y <= 65535 &&
                    grid.z <= 65535 && block.x >= 1 && block.y >= 1 && block.z >= 1 && block.z <= 64 &&
                    uint64_t{block.x} * block.y * block.z <= 1024;
  if (!fits) return cudaErrorInvalidConfiguration;
  const auto allowed = allowed_shared.find(kernel);
  return config.dynamicSmemBytes <= (allowed == allowed_shared.end() ? shared_by_default : allowed->second)
             ? cudaSuccess
             : cudaErrorInvalidValue;
}

cudaError_t allow_shared_memory(const void* kernel, size_t bytes) {
  if (bytes > most_shared) return cudaErrorInvalidValue;
  allowed_shared[kernel] = bytes;
  return cudaSuccess;
}

}  // namespace cuda_on_cpu
