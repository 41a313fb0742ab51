// Inputs, outputs and references of kernel tests, in float64.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <vector>

#include "device_memory.h"

namespace cuda_on_cpu {

using Numbers = std::vector<double>;

inline double widened(__nv_bfloat16 x) { return __bfloat162float(x); }
template <typename T>
double widened(T x) {
  return static_cast<double>(x);
}

template <typename T>
T narrowed(double x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}

/// Reproducible normal numbers that T holds exactly.
template <typename T>
std::vector<T> normal(size_t count, uint64_t seed, double scale = 1.0);

/// The same in float64.
template <typename T>
Numbers numbers(const std::vector<T>& values) {
  Numbers result;
  result.reserve(values.size());
  for (const T& value : values) result.push_back(widened(value));
  return result;
}

/// What lies in device memory, after a CHECK that nothing around it was written.
template <typename T>
Numbers written(const DeviceArray<T>& array);

/// Largest |actual - expected| relative to max(1, largest |expected|); infinite for other sizes and where
/// only one of the two is a number.
double error(const Numbers& actual, const Numbers& expected);

/// By which a float32 result may differ from float64 (given), and what is rounded to bfloat16 at its end.
template <typename T>
constexpr double allowed(double in_float) {
  return std::is_same_v<T, __nv_bfloat16> ? 1.0 / 128 : in_float;
}

}  // namespace cuda_on_cpu
