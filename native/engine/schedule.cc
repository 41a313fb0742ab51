#include "engine/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "engine/error.h"

namespace spa {

void Schedule::validate() const {
  if (warmup_steps < 0) throw Error("BAD_ARGUMENT", "schedule: warmupSteps must not be negative");
  if (kind != Kind::constant && total_steps <= warmup_steps) {
    throw Error("BAD_ARGUMENT", "schedule: totalSteps (" + std::to_string(total_steps) +
                                    ") must be above warmupSteps (" + std::to_string(warmup_steps) + ")");
  }
  if (!(minimum_ratio >= 0 && minimum_ratio <= 1))
    throw Error("BAD_ARGUMENT", "schedule: minimumRatio must be in [0, 1]");
}

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
