#include "engine/memory.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <new>
#include <string>

#include "engine/error.h"
#include "kernels/memory.h"

#ifdef SPA_CUDA
#include <c10/cuda/CUDACachingAllocator.h>
#endif

namespace spa {
namespace {

std::atomic<int64_t> device_limit{0};

void set_device_limit(at::Device device, int64_t bytes) {
  const auto total =
      static_cast<int64_t>(at::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).second);
  if (bytes > total) {
    throw Error("BAD_ARGUMENT",
                "memoryLimit is " + std::to_string(bytes >> 20) + " MiB, the device has " +
                    std::to_string(total >> 20) + " MiB",
                "ask for less, or leave the limit out");
  }
#ifdef SPA_CUDA
  const double fraction = bytes == 0 ? 1.0 : static_cast<double>(bytes) / static_cast<double>(total);
  c10::cuda::CUDACachingAllocator::setMemoryFraction(fraction, device.index());
#else
  if (bytes != 0) {
    throw Error("UNSUPPORTED", "this build cannot limit the memory of a GPU",
                "build with the CUDA kernels (spa setup says what is missing), or leave memoryLimit out");
  }
#endif
  device_limit = bytes;
}

}  // namespace

MemoryUse memory_use(at::Device device) {
  if (device.is_cpu()) {
    const auto host = kernels::host_memory();
    const auto unsigned_of = [](int64_t bytes) { return static_cast<uint64_t>(std::max<int64_t>(bytes, 0)); };
    return {unsigned_of(host.current), unsigned_of(host.peak), unsigned_of(host.limit)};
  }
  const auto stats = at::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  const auto& bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
  return {static_cast<uint64_t>(bytes.current), static_cast<uint64_t>(bytes.peak),
          static_cast<uint64_t>(device_limit.load())};
}

void reset_peak_memory(at::Device device) {
  if (device.is_cpu()) {
    kernels::reset_host_peak();
    return;
  }
  // Before the first allocation there is no peak.
  auto* allocator = at::getDeviceAllocator(device.type());
  if (allocator->initialized()) allocator->resetPeakStats(device.index());
}

void set_memory_limit(at::Device device, int64_t bytes) {
  if (device.is_cpu()) {
    kernels::set_host_memory_limit(bytes);
  } else if (bytes != 0 || device_limit != 0) {
    set_device_limit(device, bytes);
  }
}

void release_cached_memory(at::Device device) {
  if (!device.is_cpu()) at::getDeviceAllocator(device.type())->emptyCache();
}

bool is_out_of_memory(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return error.code == "OUT_OF_MEMORY";
  } catch (const c10::OutOfMemoryError&) {
    return true;
  } catch (const c10::Error& error) {
    // libtorch's CPU allocator and cuBLAS throw the general error.
    const std::string text = error.what_without_backtrace();
    return text.find("allocate memory") != std::string::npos ||
           text.find("ALLOC_FAILED") != std::string::npos;
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) {
    return false;
  }
}

std::string first_line_of(const std::exception_ptr& exception) {
  std::string text;
  try {
    std::rethrow_exception(exception);
  } catch (const c10::Error& error) {
    text = error.what_without_backtrace();
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
    text = "an exception of unknown type";
  }
  return text.substr(0, text.find('\n'));
}

}  // namespace spa
