// Which elements a dropout mask keeps, the same on the CPU and on a GPU.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/philox.h"

namespace spa::kernels {

class DropoutMask {
 public:
  DropoutMask(uint64_t seed, uint64_t stream, double probability)
      : seed_(seed),
        stream_(stream),
        threshold_(static_cast<uint64_t>(std::llround(probability * 4294967296.0))),
        factor_(static_cast<float>(1.0 / (1.0 - probability))) {}

  /// 0 or 1 / (1 - probability) for elements 4 * group .. 4 * group + 3 of a row.
  SPA_HOST_DEVICE void factors(int64_t row, int64_t group, float* result) const {
    const auto block =
        philox4x32(seed_, static_cast<uint64_t>(row) << 24 | static_cast<uint64_t>(group), stream_);
    for (int k = 0; k < 4; ++k) result[k] = block.word[k] >= threshold_ ? factor_ : 0.0f;
  }

 private:
  uint64_t seed_, stream_, threshold_;
  float factor_;
};

}  // namespace spa::kernels
