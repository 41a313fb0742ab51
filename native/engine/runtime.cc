#include "engine/runtime.h"

#include <ATen/Parallel.h>

#include <map>
#include <mutex>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "engine/error.h"
#include "engine/memory.h"
#include "kernels/memory.h"

namespace spa {
namespace {

/// What the live leases hold of one kind of device.
struct DeviceLeases {
  int count = 0;
  int limited = 0;  // those of them that asked for a limit, all for the same
  int64_t limit = 0;
};

std::mutex lease_mutex;
int lease_count = 0;
int leased_threads = 0;
std::map<at::DeviceType, DeviceLeases> leased_devices;

void apply_settings(int threads) {
  kernels::install_host_allocator();
  auto& context = at::globalContext();
  at::set_num_threads(threads);
  // bfloat16 inside float32 products would break the parity that is promised.
  context.setFloat32MatmulPrecision("highest");
  // Our own backward passes are deterministic; this covers what is left to ATen on a GPU, and only warns
  // where it cannot.
  context.setDeterministicAlgorithms(true, /*warn_only=*/true);
  context.setDeterministicFillUninitializedMemory(false);
#ifdef __GLIBC__
  // Activations come and go by the megabyte. Given back to the kernel each time, they would be paged in again
  // each time, which cost a quarter of a training step.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
}

}  // namespace

RuntimeLease::RuntimeLease(int threads, at::Device device, int64_t memory_limit)
    : threads_(threads), device_(device), is_limited_(memory_limit > 0) {
  const std::lock_guard lock(lease_mutex);
  if (lease_count > 0 && threads != leased_threads) {
    throw Error("BAD_ARGUMENT",
                "an engine with " + std::to_string(leased_threads) + " threads is alive in this process, " +
                    std::to_string(threads) + " were asked for",
                "the number of threads is a setting of the whole process: use the same number or dispose the "
                "other engine");
  }
  DeviceLeases& leases = leased_devices[device.type()];
  if (is_limited_ && leases.limited > 0 && memory_limit != leases.limit) {
    throw Error("BAD_ARGUMENT",
                "an engine with a memoryLimit of " + std::to_string(leases.limit) +
                    " bytes is alive in this process, " + std::to_string(memory_limit) + " were asked for",
                "the limit is one of the whole process: use the same, or dispose the other engine");
  }
  if (lease_count == 0) apply_settings(threads);
  if (is_limited_) {
    set_memory_limit(device, memory_limit);
    leases.limit = memory_limit;
  }
  if (leases.count == 0) reset_peak_memory(device);
  leased_threads = threads;
  ++lease_count;
  ++leases.count;
  leases.limited += is_limited_;
}

RuntimeLease::~RuntimeLease() {
  const std::lock_guard lock(lease_mutex);
  DeviceLeases& leases = leased_devices[device_.type()];
  --lease_count;
  --leases.count;
  if (is_limited_ && --leases.limited == 0) set_memory_limit(device_, 0);
}

void RuntimeLease::enter_thread() const { at::set_num_threads(threads_); }

at::Device resolve_device(const std::string& name) {
  const bool cuda = at::hasCUDA();
  if (name == "cuda" && !cuda) {
    throw Error("UNSUPPORTED", "device \"cuda\": this build or machine has no usable CUDA device",
                "use device \"cpu\", or build against a CUDA libtorch on a machine with a GPU");
  }
  return cuda && name != "cpu" ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
}

}  // namespace spa
