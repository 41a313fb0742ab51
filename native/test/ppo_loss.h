// PPO's loss with the defaults of the library, without a bonus or a penalty.
#pragma once

#include "engine/loss_options.h"

namespace spa::test {

inline LossOptions ppo_loss() {
  LossOptions loss;
  loss.kind = LossKind::ppo;
  loss.clip_low = 0.2;
  loss.clip_high = 0.28;
  loss.dual_clip = 3.0;
  loss.value_clip = 0.5;
  loss.value_coefficient = 0.5;
  loss.kl_estimator = KlEstimator::k3;
  loss.temperature = 1.0;
  return loss;
}

}  // namespace spa::test
