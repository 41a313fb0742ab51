// Learning rate as a function of the update's number.
#pragma once

#include <cstdint>

namespace spa {

struct Schedule {
  enum class Kind { constant, linear, cosine };
  Kind kind = Kind::constant;
  int64_t warmup_steps = 0;    // rises linearly from 1 / warmup_steps to 1
  int64_t total_steps = 0;     // linear and cosine: the step at which minimum_ratio is reached
  double minimum_ratio = 0.0;  // share of the peak that is left at the end

  /// Factor on the peak learning rate for update `step`, counted from 0.
  double factor(int64_t step) const;
};

}  // namespace spa
