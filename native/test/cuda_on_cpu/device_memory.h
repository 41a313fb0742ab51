// Device memory for tests: where a kernel reads or writes beside it, the launch fails.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace cuda_on_cpu {

/// 16-byte aligned bytes that end at a page nobody may touch; the up to 15 in between, and what lies before
/// them, are watched too (by AddressSanitizer, or looked at afterwards).
class DeviceMemory {
 public:
  /// Filled with the schedule's poison.
  explicit DeviceMemory(size_t bytes);
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&&) = delete;
  ~DeviceMemory();

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  /// From now on writes fail too.
  void protect();
  /// Whether what lies around the bytes is as it was.
  bool is_intact() const;

 private:
  char* pages_ = nullptr;  // a guard page, pages, a guard page
  size_t mapped_ = 0;
  char* data_ = nullptr;
  size_t bytes_ = 0;
};

/// An array in device memory.
template <typename T>
class DeviceArray {
 public:
  /// Output: poison.
  explicit DeviceArray(size_t size) : memory_(size * sizeof(T)), size_(size) {}
  /// Input or scratch with contents.
  explicit DeviceArray(std::span<const T> values) : DeviceArray(values.size()) {
    std::copy(values.begin(), values.end(), data());
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(std::span<const T>(values)) {}

  T* data() const { return static_cast<T*>(memory_.data()); }
  size_t size() const { return size_; }
  std::vector<T> host() const { return std::vector<T>(data(), data() + size_); }
  bool is_intact() const { return memory_.is_intact(); }
  void protect() { memory_.protect(); }

 private:
  DeviceMemory memory_;
  size_t size_;
};

/// An array that kernels may only read.
template <typename T>
DeviceArray<T> input(const std::vector<T>& values) {
  DeviceArray<T> array(values);
  array.protect();
  return array;
}

}  // namespace cuda_on_cpu
