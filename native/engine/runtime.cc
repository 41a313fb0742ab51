#include "engine/runtime.h"

#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <thread>

#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef __APPLE__
#include <mach/mach.h>
#include <sys/resource.h>
#else
#include <sched.h>
#endif

#include "engine/error.h"

namespace spa {
namespace {

std::mutex lease_mutex;
int lease_count = 0;
int leased_threads = 0;

void apply_settings(int threads) {
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

RuntimeLease::RuntimeLease(int threads) : threads_(threads) {
  if (threads < 1) throw Error("BAD_ARGUMENT", "threads must be at least 1, got " + std::to_string(threads));
  const std::lock_guard lock(lease_mutex);
  if (lease_count > 0 && threads != leased_threads) {
    throw Error("BAD_ARGUMENT",
                "an engine with " + std::to_string(leased_threads) + " threads is alive in this process, " +
                    std::to_string(threads) + " were asked for",
                "the number of threads is a setting of the whole process: use the same number or dispose the "
                "other engine");
  }
  if (lease_count++ == 0) {
    leased_threads = threads;
    apply_settings(threads);
  }
}

RuntimeLease::~RuntimeLease() {
  const std::lock_guard lock(lease_mutex);
  --lease_count;
}

void RuntimeLease::enter_thread() const { at::set_num_threads(threads_); }

at::Device resolve_device(const std::string& name) {
  const bool cuda = at::hasCUDA();
  if (name == "cpu") return at::kCPU;
  if (name == "cuda") {
    if (cuda) return at::Device(at::kCUDA, 0);
    throw Error("UNSUPPORTED", "device \"cuda\": this build or machine has no usable CUDA device",
                "use device \"cpu\", or build against a CUDA libtorch on a machine with a GPU");
  }
  if (name == "auto") return cuda ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
  throw Error("BAD_ARGUMENT", "device must be \"cpu\", \"cuda\" or \"auto\", got \"" + name + "\"");
}

MemoryUse memory_use(at::Device device) {
  MemoryUse use;
  if (!device.is_cpu()) {
    auto* allocator = at::getDeviceAllocator(device.type());
    const auto stats = allocator->getDeviceStats(device.index());
    const auto& bytes =
        stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    use.current = static_cast<uint64_t>(bytes.current);
    use.peak = static_cast<uint64_t>(bytes.peak);
    return use;
  }
#ifdef __APPLE__
  mach_task_basic_info info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  if (task_info(mach_task_self(), MACH_TASK_BASIC_INFO, reinterpret_cast<task_info_t>(&info), &count) ==
      KERN_SUCCESS) {
    use.current = info.resident_size;
    use.peak = info.resident_size_max;
  }
#else
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    unsigned long long kilobytes = 0;
    if (std::sscanf(line.c_str(), "VmRSS: %llu", &kilobytes) == 1) use.current = kilobytes * 1024;
    if (std::sscanf(line.c_str(), "VmHWM: %llu", &kilobytes) == 1) use.peak = kilobytes * 1024;
  }
#endif
  return use;
}

int available_cores() {
#ifndef __APPLE__
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace spa
