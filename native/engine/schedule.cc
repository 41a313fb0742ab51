#include "engine/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace spa {

double Schedule::factor(int64_t step) const {
  if (step < warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (kind == Kind::constant) return 1.0;
  const double progress = std::min(
      1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps - warmup_steps));
  const double share =
      kind == Kind::linear ? 1.0 - progress : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return minimum_ratio + (1.0 - minimum_ratio) * share;
}

}  // namespace spa
