#include "device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "fiber.h"
#include "schedule.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

namespace cuda_on_cpu {
namespace {

constexpr size_t alignment = 16;  // of the widest load
constexpr unsigned char canary = 0xdb;

size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

DeviceMemory::DeviceMemory(size_t bytes) : bytes_(bytes) {
  const size_t page = page_bytes(), held = (bytes + alignment - 1) / alignment * alignment;
  const size_t inner = std::max<size_t>((held + page - 1) / page, 1) * page;
  mapped_ = inner + 2 * page;
  void* memory = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  pages_ = static_cast<char*>(memory);
  mprotect(pages_ + page, inner, PROT_READ | PROT_WRITE);
  std::memset(pages_ + page, canary, inner);
  data_ = pages_ + page + inner - held;
  std::memset(data_, schedule().poison, bytes_);
  ASAN_POISON_MEMORY_REGION(pages_ + page, static_cast<size_t>(data_ - pages_) - page);
  ASAN_POISON_MEMORY_REGION(data_ + bytes_, held - bytes_);
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)),
      mapped_(other.mapped_),
      data_(other.data_),
      bytes_(other.bytes_) {}

DeviceMemory::~DeviceMemory() {
  if (pages_ == nullptr) return;
  ASAN_UNPOISON_MEMORY_REGION(pages_, mapped_);
  munmap(pages_, mapped_);
}

void DeviceMemory::protect() { mprotect(pages_ + page_bytes(), mapped_ - 2 * page_bytes(), PROT_READ); }

bool DeviceMemory::is_intact() const {
  if (has_address_sanitizer) return true;
  const char *first = pages_ + page_bytes(), *end = pages_ + mapped_ - page_bytes();
  const auto is_canary = [](char c) { return static_cast<unsigned char>(c) == canary; };
  return std::all_of(first, static_cast<const char*>(data_), is_canary) &&
         std::all_of(static_cast<const char*>(data_) + bytes_, end, is_canary);
}

}  // namespace cuda_on_cpu
