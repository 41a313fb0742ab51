#include "engine/train_pass.h"

#include <algorithm>
#include <functional>

#include "engine/value_head.h"
#include "kernels/log_prob.h"

namespace spa {
namespace {

/// The tokens of a packed batch that a loss term looks at.
class Selection {
 public:
  /// Packed positions whose predicted token has a weight in one of the arrays.
  Selection(const PackedBatch& packed, std::initializer_list<std::span<const float>> weights,
            at::Device device) {
    for (int64_t i = 0; i < packed.size(); ++i) {
      const auto token = static_cast<size_t>(packed.predicted[i]);
      const bool wanted = std::any_of(weights.begin(), weights.end(), [&](std::span<const float> array) {
        return token < array.size() && array[token] != 0;
      });
      if (!wanted) continue;
      positions_.push_back(i);
      tokens_.push_back(packed.predicted[i]);
    }
    all_ = static_cast<int64_t>(positions_.size()) == packed.size();
    if (!all_) index_ = at::tensor(positions_).to(device);
  }

  bool empty() const { return positions_.empty(); }
  at::Tensor rows_of(const at::Tensor& hidden) const {
    return all_ ? hidden : hidden.index_select(0, index_);
  }
  /// Adds the gradient of the selected rows; `grad_hidden` may be undefined (zero) before.
  void add_rows(const at::Tensor& grad, at::Tensor& grad_hidden, const at::Tensor& hidden) const {
    if (all_) {
      grad_hidden = grad_hidden.defined() ? grad_hidden.add_(grad) : grad;
      return;
    }
    if (!grad_hidden.defined()) grad_hidden = at::zeros_like(hidden);
    grad_hidden.index_add_(0, index_, grad);
  }

  template <typename T>
  std::vector<T> gather(std::span<const T> values) const {
    std::vector<T> result(tokens_.size());
    if (values.empty()) return result;
    for (size_t i = 0; i < tokens_.size(); ++i) result[i] = values[tokens_[i]];
    return result;
  }

 private:
  std::vector<int64_t> positions_, tokens_;  // in the packed batch and in the ragged array
  bool all_ = false;
  at::Tensor index_;
};

at::Tensor to_tensor(const std::vector<float>& values, at::Device device) {
  return at::tensor(values).to(device);
}

std::span<const float> floats(const at::Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

/// Losses of selected tokens from their log-probs and entropies: adds to the gradients of both.
using TokenLoss = std::function<void(std::span<const float> log_probs, std::span<const float> entropy,
                                     std::span<float> grad_log_probs, std::span<float> grad_entropy)>;

void run_head(const Selection& selection, const at::Tensor& hidden, const TrainPass& pass, double temperature,
              bool entropy, const Decoder& decoder, const DecoderWeights& gradients, at::Tensor& grad_hidden,
              const TokenLoss& loss) {
  const at::Tensor rows = selection.rows_of(hidden);
  const auto ids = selection.gather(pass.batch.rows.tokens);
  const at::Tensor targets = at::tensor(at::ArrayRef<int32_t>(ids)).to(hidden.device(), at::kLong);
  const auto scores = kernels::token_log_probs(rows, decoder.weights().head, targets, temperature, entropy);
  const at::Tensor log_probs = scores.log_prob.cpu(),
                   entropies = entropy ? scores.entropy.cpu() : at::Tensor{};

  std::vector<float> grad_log_probs(ids.size(), 0.0f), grad_entropy(entropy ? ids.size() : 0, 0.0f);
  loss(floats(log_probs), entropy ? floats(entropies) : std::span<const float>{}, grad_log_probs,
       grad_entropy);
  const bool through_entropy = entropy && pass.loss.entropy_coefficient != 0;
  const at::Tensor grad = kernels::token_log_probs_backward(
      rows, decoder.weights().head, targets, temperature, scores, to_tensor(grad_log_probs, hidden.device()),
      through_entropy ? to_tensor(grad_entropy, hidden.device()) : at::Tensor{}, gradients.head);
  selection.add_rows(grad, grad_hidden, hidden);
}

void sft_loss(std::span<const float> log_probs, std::span<const float> weights, std::span<float> gradient,
              TrainSums& sums) {
  for (size_t i = 0; i < log_probs.size(); ++i) {
    if (weights[i] == 0) continue;
    sums.sft_loss -= static_cast<double>(weights[i]) * log_probs[i];
    sums.sft_tokens += 1;
    gradient[i] -= weights[i];
  }
}

/// Cross-entropies beside the policy loss. They are at temperature 1.
class Auxiliary {
 public:
  /// Of no token.
  Auxiliary() = default;
  explicit Auxiliary(const TrainPass& pass)
      : supervised_(pass.supervised_weights), environment_(pass.environment_weights) {}

  bool empty() const { return supervised_.empty() && environment_.empty(); }
  Selection select(const PackedBatch& packed, std::span<const float> others, at::Device device) const {
    return Selection(packed, {others, supervised_, environment_}, device);
  }
  /// Adds the losses of the selected tokens, and their gradients with the coefficients.
  void add(const Selection& selection, const LossOptions& loss, std::span<const float> log_probs,
           std::span<float> gradient, TrainSums& sums) const {
    add_term(selection.gather(supervised_), loss.supervised_coefficient, log_probs, gradient,
             sums.supervised_loss);
    add_term(selection.gather(environment_), loss.environment_coefficient, log_probs, gradient,
             sums.environment_loss);
  }

 private:
  static void add_term(const std::vector<float>& weights, double coefficient,
                       std::span<const float> log_probs, std::span<float> gradient, double& sum) {
    for (size_t i = 0; i < log_probs.size(); ++i) {
      if (weights[i] == 0) continue;
      sum -= static_cast<double>(weights[i]) * log_probs[i];
      gradient[i] -= static_cast<float>(coefficient) * weights[i];
    }
  }

  std::span<const float> supervised_, environment_;  // weights, [tokens] or empty
};

void ppo_loss(const TrainPass& pass, const Selection& selection, std::span<const float> log_probs,
              std::span<const float> entropy, std::span<float> grad_log_probs, std::span<float> grad_entropy,
              TrainSums& sums) {
  const LossOptions& options = pass.loss;
  const auto mask = selection.gather(pass.batch.mask);
  const auto weights = selection.gather(std::span<const float>(pass.policy_weights));
  sums.policy.add(policy_loss(log_probs, selection.gather(pass.batch.old_log_probs),
                              selection.gather(pass.batch.advantages), mask, weights, options,
                              grad_log_probs));
  const auto reference = selection.gather(pass.batch.reference_log_probs);
  const bool with_kl = !pass.batch.reference_log_probs.empty();
  for (size_t i = 0; i < log_probs.size(); ++i) {
    if (mask[i] == 0) continue;
    sums.entropy += entropy[i];
    sums.entropy_loss += static_cast<double>(weights[i]) * entropy[i];
    grad_entropy[i] -= static_cast<float>(options.entropy_coefficient) * weights[i];
    if (!with_kl) continue;
    const KlValue kl = kl_penalty(log_probs[i], reference[i], options.kl_estimator);
    sums.kl += kl.value;
    sums.kl_loss += static_cast<double>(weights[i]) * kl.value;
    grad_log_probs[i] += static_cast<float>(options.kl_coefficient) * weights[i] * kl.derivative;
  }
}

void add_policy(const TrainPass& pass, const PackedBatch& packed, const at::Tensor& hidden,
                const Decoder& decoder, const DecoderWeights& gradients, at::Tensor& grad_hidden,
                TrainSums& sums) {
  const std::span<const float> weights = pass.policy_weights;
  const double temperature = pass.loss.kind == LossKind::ppo ? pass.loss.temperature : 1.0;
  const Auxiliary auxiliary(pass);
  // It shares the head's work when the policy's temperature is 1, too.
  const bool apart = !auxiliary.empty() && temperature != 1.0;
  const Auxiliary shared = apart ? Auxiliary{} : auxiliary;
  const Selection selection = shared.select(packed, weights, hidden.device());
  const auto own_weights = selection.gather(weights);
  if (!selection.empty()) {
    run_head(selection, hidden, pass, temperature, pass.loss.kind == LossKind::ppo, decoder, gradients,
             grad_hidden, [&](auto log_probs, auto entropy, auto grad_log_probs, auto grad_entropy) {
               if (pass.loss.kind == LossKind::sft) {
                 sft_loss(log_probs, own_weights, grad_log_probs, sums);
               } else {
                 ppo_loss(pass, selection, log_probs, entropy, grad_log_probs, grad_entropy, sums);
               }
               shared.add(selection, pass.loss, log_probs, grad_log_probs, sums);
             });
  }
  if (!apart) return;
  const Selection rest = auxiliary.select(packed, {}, hidden.device());
  if (rest.empty()) return;
  run_head(rest, hidden, pass, 1.0, false, decoder, gradients, grad_hidden,
           [&](auto log_probs, auto, auto grad_log_probs, auto) {
             auxiliary.add(rest, pass.loss, log_probs, grad_log_probs, sums);
           });
}

void add_value(const TrainPass& pass, const PackedBatch& packed, const at::Tensor& hidden,
               const Decoder& decoder, const DecoderWeights& gradients, at::Tensor& grad_hidden,
               TrainSums& sums) {
  const Selection selection(packed, {pass.value_weights}, hidden.device());
  if (selection.empty()) return;
  const at::Tensor rows = selection.rows_of(hidden);
  const at::Tensor values = token_values(rows, decoder.weights()).cpu().contiguous();
  std::vector<float> gradient(values.numel(), 0.0f);
  sums.value.add(value_loss(floats(values), selection.gather(pass.batch.old_values),
                            selection.gather(pass.batch.returns), selection.gather(pass.batch.value_mask),
                            selection.gather(std::span<const float>(pass.value_weights)),
                            pass.loss.value_clip, gradient));
  for (float& entry : gradient) entry *= static_cast<float>(pass.loss.value_coefficient);
  const at::Tensor grad =
      token_values_backward(rows, decoder.weights(), to_tensor(gradient, hidden.device()), gradients);
  if (pass.backbone) selection.add_rows(grad, grad_hidden, hidden);
}

}  // namespace

void TrainPass::trim_rows() {
  const auto offsets = batch.rows.offsets;
  lengths.assign(batch.rows.rows(), 0);
  const auto has_weight = [](const std::vector<float>& weights, uint32_t k) {
    return !weights.empty() && weights[k] != 0;
  };
  for (int64_t row = 0; row < batch.rows.rows(); ++row) {
    for (uint32_t k = offsets[row + 1]; k-- > offsets[row] + 1;) {
      if (has_weight(policy_weights, k) || has_weight(supervised_weights, k) ||
          has_weight(environment_weights, k) || has_weight(value_weights, k)) {
        lengths[row] = k - offsets[row];
        break;
      }
    }
  }
}

void TrainSums::add(const TrainSums& other) {
  sft_loss += other.sft_loss;
  sft_tokens += other.sft_tokens;
  policy.add(other.policy);
  entropy += other.entropy;
  entropy_loss += other.entropy_loss;
  kl += other.kl;
  kl_loss += other.kl_loss;
  supervised_loss += other.supervised_loss;
  environment_loss += other.environment_loss;
  value.add(other.value);
}

double TrainSums::total(const LossOptions& loss) const {
  return sft_loss + policy.loss - loss.entropy_coefficient * entropy_loss + loss.kl_coefficient * kl_loss +
         loss.supervised_coefficient * supervised_loss + loss.value_coefficient * value.loss +
         loss.environment_coefficient * environment_loss;
}

StepMetrics TrainSums::metrics(const TrainBatch& batch, const LossOptions& loss) const {
  StepMetrics metrics;
  metrics["loss"] = total(loss);
  metrics["tokens_trained"] = static_cast<double>(batch.rows.tokens.size());
  metrics["masked_tokens"] = loss.kind == LossKind::sft   ? sft_tokens
                             : loss.kind == LossKind::ppo ? policy.tokens
                                                          : value.tokens;
  if (loss.kind == LossKind::ppo) {
    policy.report(metrics);
    metrics["entropy"] = entropy / policy.tokens;
    if (!batch.reference_log_probs.empty()) metrics["kl"] = kl / policy.tokens;
    if (loss.supervised_coefficient != 0) metrics["supervised_loss"] = supervised_loss;
    if (loss.environment_coefficient != 0) metrics["environment_loss"] = environment_loss;
  }
  if (value.tokens > 0) value.report(metrics);
  return metrics;
}

TrainSums add_gradients(const TrainPass& pass, std::span<const int64_t> rows, const Decoder& decoder,
                        at::Device device, const DecoderWeights& gradients) {
  TrainSums sums;
  const PackedBatch packed = pack_rows(pass.batch.rows, rows, pass.lengths, device);
  Activations activations;
  activations.keep = pass.keep;
  if (decoder.has_dropout()) {
    const at::Tensor tokens = at::tensor(at::ArrayRef<int64_t>(packed.predicted)).to(device);
    activations.dropout = DropoutSource{pass.dropout_seed, pass.update, tokens};
  }
  at::Tensor hidden = decoder.hidden(packed, pass.backbone ? &activations : nullptr);
  at::Tensor grad_hidden;
  if (pass.policy) add_policy(pass, packed, hidden, decoder, gradients, grad_hidden, sums);
  if (pass.value) add_value(pass, packed, hidden, decoder, gradients, grad_hidden, sums);
  hidden.reset();
  if (pass.backbone && grad_hidden.defined()) decoder.backward(packed, activations, grad_hidden, gradients);
  return sums;
}

}  // namespace spa
