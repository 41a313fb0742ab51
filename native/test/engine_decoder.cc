// Forward and backward passes against a plain double-precision decoder.
#include <cmath>

#include "doctest_torch.h"
#include "engine/train_pass.h"
#include "reference_decoder.h"

using namespace spa;
using namespace spa::test;

namespace {

struct Case {
  const char* name;
  ModelConfig config;
};
const Case cases[] = {{"qwen2", qwen2_config()}, {"llama3", llama_config()}, {"qwen3", qwen3_config()}};

/// Mean over masked tokens of everything at once: NLL and squared value, in double.
double reference_loss(const ReferenceDecoder& reference, const TokenRows& rows,
                      const std::vector<float>& returns, double value_coefficient) {
  double nll = 0, squares = 0, count = 0;
  for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) {
    const auto tokens = rows.row(row);
    const auto hidden = reference.hidden(tokens);
    for (size_t k = 1; k < tokens.size(); ++k, ++count) {
      nll -= reference.log_probs(hidden[k - 1])[tokens[k]];
      double value = reference.weights.at("value_head.bias")[0];
      for (size_t i = 0; i < hidden[k - 1].size(); ++i)
        value += reference.weights.at("value_head.weight")[i] * hidden[k - 1][i];
      squares += 0.5 * std::pow(value - returns[rows.offsets[row] + k], 2);
    }
  }
  return nll / count + value_coefficient * squares / count;
}

}  // namespace

TEST_CASE("log-probs, entropy and values agree with the reference decoder") {
  for (const auto& [name, config] : cases) {
    CAPTURE(name);
    const auto model = random_model(config, true);
    const ReferenceDecoder reference(*model);
    const TokenRows rows({40, 1, 7, 0, 19}, config.vocab);
    const Scores scores = model->score(rows.view(), {true, true, true, 0.7});
    for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) {
      const auto tokens = rows.row(row);
      const auto hidden = reference.hidden(tokens);
      for (size_t k = 0; k < tokens.size(); ++k) {
        const size_t at = rows.offsets[row] + k;
        if (k == 0) {
          CHECK(scores.log_probs[at] == 0);
          CHECK(scores.entropy[at] == 0);
          CHECK(scores.values[at] == 0);
          continue;
        }
        const Row log_probs = reference.log_probs(hidden[k - 1], 0.7);
        double entropy = 0, value = reference.weights.at("value_head.bias")[0];
        for (const double log_prob : log_probs) entropy -= std::exp(log_prob) * log_prob;
        for (size_t i = 0; i < hidden[k - 1].size(); ++i)
          value += reference.weights.at("value_head.weight")[i] * hidden[k - 1][i];
        REQUIRE(scores.log_probs[at] == doctest::Approx(log_probs[tokens[k]]).epsilon(2e-5));
        REQUIRE(scores.entropy[at] == doctest::Approx(entropy).epsilon(2e-5));
        REQUIRE(scores.values[at] == doctest::Approx(value).epsilon(2e-5));
      }
    }
  }
}

TEST_CASE("bfloat16 stays near float32") {
  for (const auto& [name, config] : cases) {
    CAPTURE(name);
    const TokenRows rows({30, 22}, config.vocab);
    const auto model = random_model(config, false, 7, at::kBFloat16);
    const auto wide = random_model(config, false, 7);
    wide->copy_from(*model);
    const auto narrow_scores = model->score(rows.view(), {}).log_probs,
               wide_scores = wide->score(rows.view(), {}).log_probs;
    double difference = 0;
    for (size_t i = 0; i < wide_scores.size(); ++i) difference += std::abs(narrow_scores[i] - wide_scores[i]);
    CHECK(difference / static_cast<double>(wide_scores.size()) < 2e-2);
  }
}

TEST_CASE("scores do not depend on the micro-batch size or on the other rows") {
  const auto model = random_model(qwen2_config());
  const TokenRows rows({25, 12, 31, 2}, 37);
  const auto whole = model->score(rows.view(), {}).log_probs;
  ScoreOptions small;
  small.micro_batch_tokens = 1;
  CHECK(model->score(rows.view(), small).log_probs == whole);
  const std::vector<uint32_t> offsets = {0, 31};
  const auto alone = model->score({rows.row(2), offsets}, {}).log_probs;
  for (size_t k = 0; k < alone.size(); ++k) CHECK(alone[k] == whole[rows.offsets[2] + k]);
}

TEST_CASE("gradients of all parameters agree with finite differences of the reference") {
  for (const auto& [name, config] : cases) {
    CAPTURE(name);
    const auto model = random_model(config, true);
    const TokenRows rows({9, 5, 12}, config.vocab);
    const size_t count = rows.tokens.size();
    std::vector<uint8_t> mask(count, 1);
    for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) mask[rows.offsets[row]] = 0;
    std::vector<float> returns(count), old_values(count, 0.0f);
    for (size_t k = 0; k < count; ++k) returns[k] = std::sin(static_cast<float>(k));

    TrainBatch batch{rows.view(), mask, {}, {}, {}, {}, {}, {}, mask, old_values, returns};
    LossOptions loss;
    loss.value_clip = std::nullopt;
    loss.value_coefficient = 0.7;
    TrainPass pass(batch, loss);
    pass.policy = pass.value = pass.backbone = true;
    pass.policy_weights = aggregation_weights(mask, rows.offsets, Aggregation::token_mean);
    pass.value_weights = pass.policy_weights;
    pass.trim_rows();
    const at::Tensor flat = at::zeros({model->layout().size()});
    const std::vector<int64_t> all = {0, 1, 2};
    const TrainSums sums =
        add_gradients(pass, all, model->decoder(64), at::kCPU, model->layout().views(flat));

    ReferenceDecoder reference(*model);
    CHECK(sums.sft_loss + 0.7 * sums.value.loss ==
          doctest::Approx(reference_loss(reference, rows, returns, 0.7)).epsilon(1e-5));
    double scale = flat.abs().max().item<double>();
    for (const NamedTensor& entry : model->layout().named(flat)) {
      const std::string& parameter = entry.name;
      CAPTURE(parameter);
      const at::Tensor gradient = entry.tensor.contiguous().view({-1});
      // Three elements of each parameter, the largest among them.
      for (const int64_t at : {gradient.abs().argmax().item<int64_t>(), int64_t{0}, gradient.numel() / 2}) {
        double& weight = reference.weights.at(parameter)[at];
        const double step = 1e-5, kept = weight;
        weight = kept + step;
        const double above = reference_loss(reference, rows, returns, 0.7);
        weight = kept - step;
        const double below = reference_loss(reference, rows, returns, 0.7);
        weight = kept;
        const double expected = (above - below) / (2 * step), actual = gradient[at].item<double>();
        REQUIRE(std::abs(actual - expected) < 2e-5 * scale + 1e-4 * std::abs(expected));
      }
    }
  }
}
