// Which elements a dropout mask keeps, the same on the CPU and on a GPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/philox.h"

namespace spa::kernels {

struct DropoutMask {
  uint64_t seed = 0;
  uint64_t stream = 0;
  uint32_t threshold = 0;  // an element goes when its random word is below
  float factor = 1.0f;     // of elements that stay

  DropoutMask() = default;
  DropoutMask(uint64_t seed, uint64_t stream, double probability)
      : seed(seed),
        stream(stream),
        threshold(static_cast<uint32_t>(std::min(std::round(probability * 4294967296.0), 4294967295.0))),
        factor(static_cast<float>(1.0 / (1.0 - probability))) {}

  /// Where elements 4 * group .. 4 * group + 3 of a row take their random words from.
  SPA_HOST_DEVICE static uint64_t counter(int64_t row, int64_t group) {
    return static_cast<uint64_t>(row) << 24 | static_cast<uint64_t>(group);
  }
};

}  // namespace spa::kernels
