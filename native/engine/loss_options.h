// What a loss is made of. lib/addon/loss-fields.ts declares each field once: range, default, meaning. This
// struct has no defaults of its own: whoever fills it sets every field that its kind reads.
#pragma once

#include <optional>

namespace spa {

/// How per-token losses become one number (verl's loss_agg_mode).
enum class Aggregation { token_mean, seq_mean_token_mean, seq_mean_token_sum };

enum class KlEstimator { k1, abs, k2, k3 };

enum class LossKind { sft, ppo, value };

/// sft: mean NLL. ppo: policy loss - entropy_coefficient * entropy + kl_coefficient * KL +
/// supervised_coefficient * NLL of the supervised tokens + environment_coefficient * NLL of the
/// environment's, each aggregated alike (the last two by token-mean), + value_coefficient * value loss
/// (token-mean). value: the value loss alone.
struct LossOptions {
  LossKind kind{};
  Aggregation aggregation{};
  double clip_low{};
  double clip_high{};
  std::optional<double> dual_clip;   // > 1; binds for advantages < 0 (Ye et al. 2020, arXiv:1912.09729)
  std::optional<double> value_clip;  // absent: no clipping
  double value_coefficient{};
  double entropy_coefficient{};
  double kl_coefficient{};
  KlEstimator kl_estimator{};
  double temperature{};  // of the policy's log-probs (ppo)
  double supervised_coefficient{};
  double environment_coefficient{};

  /// Calls visit(name, field) for every field, under its name in lib/addon/loss-fields.ts.
  template <typename Visit>
  void visit_fields(const Visit& visit) {
    visit("kind", kind);
    visit("aggregation", aggregation);
    visit("clipLow", clip_low);
    visit("clipHigh", clip_high);
    visit("dualClip", dual_clip);
    visit("valueClip", value_clip);
    visit("valueCoefficient", value_coefficient);
    visit("entropyCoefficient", entropy_coefficient);
    visit("klCoefficient", kl_coefficient);
    visit("klEstimator", kl_estimator);
    visit("temperature", temperature);
    visit("supervisedCoefficient", supervised_coefficient);
    visit("environmentCoefficient", environment_coefficient);
  }
};

}  // namespace spa
