#include "numbers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "third_party/doctest.h"

namespace cuda_on_cpu {

template <typename T>
std::vector<T> normal(size_t count, uint64_t seed, double scale) {
  std::mt19937_64 random(seed);
  const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  std::vector<T> values(count);
  for (T& value : values) {
    const double radius = std::sqrt(-2 * std::log(uniform()));
    value = narrowed<T>(scale * radius * std::cos(2 * std::numbers::pi * uniform()));
  }
  return values;
}
template std::vector<float> normal(size_t, uint64_t, double);
template std::vector<__nv_bfloat16> normal(size_t, uint64_t, double);

template <typename T>
Numbers written(const DeviceArray<T>& array) {
  CHECK_MESSAGE(array.is_intact(), "something was written beside an array");
  return numbers(array.host());
}
template Numbers written(const DeviceArray<float>&);
template Numbers written(const DeviceArray<double>&);
template Numbers written(const DeviceArray<__nv_bfloat16>&);
template Numbers written(const DeviceArray<int32_t>&);
template Numbers written(const DeviceArray<int64_t>&);

double error(const Numbers& actual, const Numbers& expected) {
  if (actual.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, size = 1;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (actual[i] == expected[i]) continue;  // infinities too
    const double d = std::abs(actual[i] - expected[i]);
    if (!std::isfinite(d)) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, d);
    size = std::max(size, std::abs(expected[i]));
  }
  return difference / size;
}

}  // namespace cuda_on_cpu
