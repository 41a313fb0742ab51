// Adapters: against the plain decoder with merged weights, gradients in double precision, training, sharing.
#include <cmath>

#include "code_of.h"
#include "doctest_torch.h"
#include "engine/session.h"
#include "engine/trainer.h"
#include "ppo_loss.h"
#include "reference_decoder.h"

using namespace spa;
using namespace spa::test;

namespace {

constexpr std::array<bool, target_count> all_targets = {true, true, true, true, true, true, true};

struct Case {
  const char* name;
  ModelConfig config;
  AdapterConfig adapter;
};
const Case cases[] = {
    {"qwen2, all targets", qwen2_config(), {3, 0.7, 0, all_targets}},
    {"llama, q v down", llama_config(), {4, 2.0, 0, {true, false, true, false, false, false, true}}},
    {"qwen3, k o up", qwen3_config(), {1, 1.5, 0, {false, true, false, true, false, true, false}}},
};

/// An adapter with B away from zero.
std::shared_ptr<Model> trained_adapter(const std::shared_ptr<Model>& backbone, const AdapterConfig& adapter,
                                       bool value_head = false, uint64_t seed = 5) {
  const auto model = Model::add_adapter(backbone, adapter, value_head, seed);
  uint64_t tensor = 0;
  for (const NamedTensor& entry : model->parameters()) {
    ++tensor;
    if (entry.name.find("lora_A") != std::string::npos) continue;
    for (int64_t i = 0; i < entry.tensor.numel(); ++i) {
      entry.tensor.view({-1})[i] = kernels::philox_uniform(seed, tensor, static_cast<uint64_t>(i)) - 0.5f;
    }
  }
  model->mark_changed();
  return model;
}

/// The plain decoder of the backbone, with scale * B A added to its weights in double precision.
ReferenceDecoder merged_reference(const Model& model) {
  ReferenceDecoder reference(*model.backbone());
  for (const NamedTensor& entry : model.parameters()) {
    const size_t end = entry.name.find(".lora_A.weight");
    if (end == std::string::npos) {
      if (entry.name.find("value_head") != 0) continue;
      const at::Tensor values = entry.tensor.to(at::kDouble).contiguous().view({-1});
      reference.weights[entry.name] =
          Row(values.data_ptr<double>(), values.data_ptr<double>() + values.numel());
      continue;
    }
    const std::string stem = entry.name.substr(0, end);
    for (const NamedTensor& other : model.parameters()) {
      if (other.name != stem + ".lora_B.weight") continue;
      const at::Tensor update =
          at::mm(other.tensor.to(at::kDouble), entry.tensor.to(at::kDouble)).mul(model.adapter()->scale);
      Row& weight = reference.weights.at(stem.substr(std::string("base_model.model.").size()) + ".weight");
      REQUIRE(static_cast<int64_t>(weight.size()) == update.numel());
      for (size_t i = 0; i < weight.size(); ++i) weight[i] += update.data_ptr<double>()[i];
    }
  }
  return reference;
}

std::vector<uint8_t> whole_mask(const TokenRows& rows) {
  std::vector<uint8_t> mask(rows.tokens.size(), 1);
  for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) {
    if (rows.offsets[row] < mask.size()) mask[rows.offsets[row]] = 0;
  }
  return mask;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(double{a[i]} - b[i]));
  return largest;
}

}  // namespace

TEST_CASE("log-probs and values with an adapter are those of the reference with merged weights") {
  for (const auto& [name, config, adapter] : cases) {
    CAPTURE(name);
    const auto model = trained_adapter(random_model(config), adapter, true);
    const ReferenceDecoder reference = merged_reference(*model);
    const TokenRows rows({33, 1, 12}, config.vocab);
    const Scores scores = model->score(rows.view(), {true, false, true});
    for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) {
      const auto tokens = rows.row(row);
      const auto hidden = reference.hidden(tokens);
      for (size_t k = 1; k < tokens.size(); ++k) {
        double value = reference.weights.at("value_head.bias")[0];
        for (size_t i = 0; i < hidden[k - 1].size(); ++i)
          value += reference.weights.at("value_head.weight")[i] * hidden[k - 1][i];
        const size_t at = rows.offsets[row] + k;
        REQUIRE(scores.log_probs[at] ==
                doctest::Approx(reference.log_probs(hidden[k - 1])[tokens[k]]).epsilon(3e-5));
        REQUIRE(scores.values[at] == doctest::Approx(value).epsilon(3e-5));
      }
    }
  }
}

TEST_CASE("a fresh adapter changes nothing, a merged one computes the same") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [name, config, adapter] : cases) {
      CAPTURE(name);
      const auto backbone = random_model(config, true, 7, dtype);
      const TokenRows rows({30, 17}, config.vocab);
      const auto scores = [&](Model& model) { return model.score(rows.view(), {true, false, true}); };
      const auto fresh = Model::add_adapter(backbone, adapter, true, 1);
      CHECK(scores(*fresh).log_probs == scores(*backbone).log_probs);
      CHECK(scores(*fresh).values == scores(*backbone).values);

      const auto model = trained_adapter(backbone, adapter, true);
      CHECK(largest_difference(scores(*model).log_probs, scores(*backbone).log_probs) > 0.05);
      const auto merged = model->merge();
      CHECK(!merged->adapter());
      CHECK(merged->has_value_head());
      CHECK(model->parameter_count() ==
            random_model(config)->parameter_count() + model->layout().parameter_count());
      const auto with = scores(*model).log_probs, without = scores(*merged).log_probs;
      double mean = 0;
      for (size_t i = 0; i < with.size(); ++i) mean += std::abs(with[i] - without[i]);
      CHECK(mean / static_cast<double>(with.size()) < (dtype == at::kFloat ? 1e-6 : 2e-2));
      if (dtype != at::kFloat) continue;
      CHECK(largest_difference(scores(*model).log_probs, scores(*merged).log_probs) < 1e-5);
      CHECK(largest_difference(scores(*model).values, scores(*merged).values) < 1e-5);
    }
  }
}

TEST_CASE("A starts as PEFT's kaiming_uniform_, reproducibly") {
  const auto backbone = random_model(qwen2_config());
  const AdapterConfig adapter{16, 1, 0, all_targets};
  const auto model = Model::add_adapter(backbone, adapter, false, 3);
  CHECK(model->flat().equal(Model::add_adapter(backbone, adapter, false, 3)->flat()));
  CHECK(!model->flat().equal(Model::add_adapter(backbone, adapter, false, 4)->flat()));
  for (const NamedTensor& entry : model->parameters()) {
    const std::string& name = entry.name;
    CAPTURE(name);
    const at::Tensor& values = entry.tensor;
    if (name.find("lora_B") != std::string::npos) {
      CHECK(values.abs().max().item<double>() == 0);
      continue;
    }
    const double bound = 1 / std::sqrt(static_cast<double>(values.size(1)));
    CHECK(values.abs().max().item<double>() <= bound);
    CHECK(values.abs().max().item<double>() > 0.95 * bound);
    CHECK(values.std().item<double>() == doctest::Approx(bound / std::sqrt(3.0)).epsilon(0.1));
  }
}

TEST_CASE("gradients of A and B agree with finite differences in double precision, with dropout too") {
  for (const double dropout : {0.0, 0.3}) {
    for (const auto& [name, config, plain] : cases) {
      CAPTURE(name);
      AdapterConfig adapter = plain;
      adapter.dropout = dropout;
      const auto model = trained_adapter(random_model(config), adapter);
      const TokenRows rows({9, 5}, config.vocab);
      const std::vector<int64_t> all = {0, 1}, lengths = {9, 5};
      const PackedBatch batch = pack_rows(rows.view(), all, lengths, at::kCPU);
      const at::Tensor weights = model->backbone()->flat().to(at::kDouble);
      const at::Tensor low_rank = model->flat().to(at::kDouble);
      const Decoder backbone(config, model->backbone()->layout().views(weights));
      Decoder decoder(backbone, adapter, model->layout().views(low_rank));
      decoder.prepare(64);
      at::Tensor direction = at::empty({14, config.hidden}, at::kDouble);
      for (int64_t i = 0; i < direction.numel(); ++i) direction.view({-1})[i] = std::sin(3.0 * double(i));
      const auto forward = [&](Activations& saved) {
        if (decoder.has_dropout()) {
          saved.dropout = DropoutSource{11, 4, at::tensor(at::ArrayRef<int64_t>(batch.predicted))};
        }
        return decoder.hidden(batch, &saved);
      };
      const auto loss = [&] {
        Activations saved;
        return (forward(saved) * direction).sum().item<double>();
      };
      Activations saved;
      const at::Tensor hidden = forward(saved);
      const at::Tensor gradient = at::zeros_like(low_rank);
      decoder.backward(batch, saved, direction, model->layout().views(gradient));
      const double scale = gradient.abs().max().item<double>();
      const auto values = model->layout().named(low_rank), gradients = model->layout().named(gradient);
      for (size_t tensor = 0; tensor < values.size(); ++tensor) {
        const std::string& parameter = values[tensor].name;
        CAPTURE(parameter);
        const at::Tensor g = gradients[tensor].tensor.reshape({-1});
        double* element = values[tensor].tensor.data_ptr<double>();
        for (const int64_t at : {g.abs().argmax().item<int64_t>(), int64_t{0}, g.numel() / 2}) {
          const double step = 1e-5, kept = element[at];
          element[at] = kept + step;
          const double above = loss();
          element[at] = kept - step;
          const double below = loss();
          element[at] = kept;
          REQUIRE(std::abs((above - below) / (2 * step) - g[at].item<double>()) < 1e-6 * scale);
        }
      }
    }
  }
}

TEST_CASE("cached decoding agrees with packed scoring") {
  for (const auto& [name, config, adapter] : cases) {
    CAPTURE(name);
    const auto model = trained_adapter(random_model(config), adapter);
    Session session(model, 3, 64, 1);
    const TokenRows prompts({9, 4, 1}, config.vocab);
    const std::vector<int32_t> slots = {0, 1, 2};
    session.extend(slots, prompts.view());
    const GenerateResult sampled = session.generate({slots, {20, 20, 20}, {}, {}, {}});
    std::vector<int32_t> tokens;
    std::vector<uint32_t> offsets = {0};
    std::vector<float> expected;
    for (size_t row = 0; row < 3; ++row) {
      const auto prompt = prompts.row(row);
      tokens.insert(tokens.end(), prompt.begin(), prompt.end());
      tokens.insert(tokens.end(), sampled.tokens.begin() + sampled.offsets[row],
                    sampled.tokens.begin() + sampled.offsets[row + 1]);
      offsets.push_back(static_cast<uint32_t>(tokens.size()));
    }
    const auto scored = model->score({tokens, offsets}, {}).log_probs;
    for (size_t row = 0; row < 3; ++row) {
      const size_t count = sampled.offsets[row + 1] - sampled.offsets[row];
      for (size_t k = 0; k < count; ++k) {
        REQUIRE(std::abs(scored[offsets[row + 1] - count + k] - sampled.log_probs[sampled.offsets[row] + k]) <
                1e-4);
      }
    }
  }
}

TEST_CASE("training changes the adapter and its value head, and no other model on the backbone") {
  const auto backbone = random_model(qwen2_config());
  const AdapterConfig adapter{4, 2, 0.1, all_targets};
  const auto actor = Model::add_adapter(backbone, adapter, false, 1);
  const auto critic = actor->clone(true), reference = actor->clone(false);
  const at::Tensor weights = backbone->flat().clone(), start = actor->flat().clone();
  const TokenRows rows({20, 9, 14}, 37);
  const auto mask = whole_mask(rows);
  std::vector<float> advantages(mask.size()), returns(mask.size()), old_values(mask.size(), 0.0f);
  for (size_t k = 0; k < mask.size(); ++k) advantages[k] = returns[k] = std::sin(static_cast<float>(k));
  const auto old = actor->score(rows.view(), {}).log_probs;
  const TrainBatch batch{rows.view(), mask, {}, old, advantages, old, {}, {}, mask, old_values, returns};
  LossOptions loss = ppo_loss();
  Trainer trainer(actor, critic, {});
  Session session(actor, 1, 64, 1);
  const std::vector<int32_t> slot = {0};
  session.extend(slot, TokenRows({5}, 37).view());
  for (int i = 0; i < 3; ++i) {
    const StepMetrics metrics = trainer.step(batch, loss);
    CHECK(metrics.at("grad_norm") > 0);
    CHECK(metrics.at("critic_grad_norm") > 0);
  }
  CHECK(backbone->flat().equal(weights));
  CHECK(reference->flat().equal(start));
  CHECK(!actor->flat().equal(start));
  CHECK(critic->score(rows.view(), {false, false, true}).values != old_values);
  CHECK(code_of([&] { session.generate({slot, {4}, {}, {}, {}}); }) == "STALE_CACHE");
  // A change of the backbone is a change of what is on it.
  const uint64_t before = reference->version();
  backbone->mark_changed();
  CHECK(reference->version() == before + 1);
}

TEST_CASE("dropout in training does not depend on micro-batches, and goes on after a resume") {
  const auto backbone = random_model(qwen3_config());
  const AdapterConfig adapter{4, 2, 0.4, all_targets};
  const TokenRows rows({20, 9, 14, 3}, 37);
  const auto mask = whole_mask(rows);
  const TrainBatch batch{rows.view(), mask};
  const auto trained = [&](int64_t micro_batch, uint64_t seed, bool resume) {
    auto model = trained_adapter(backbone, adapter);
    TrainerOptions options;
    options.micro_batch_tokens = micro_batch;
    options.dropout_seed = seed;
    options.optimizer.epsilon = 1e-3;
    auto trainer = std::make_unique<Trainer>(model, nullptr, options);
    for (int i = 0; i < 4; ++i) {
      if (resume && i == 2) {
        model = model->clone(false);
        auto next = std::make_unique<Trainer>(model, nullptr, options);
        next->import_state(trainer->export_state());
        trainer = std::move(next);
      }
      trainer->step(batch, {});
    }
    return model->flat();
  };
  const at::Tensor whole = trained(100000, 1, false);
  CHECK((trained(16, 1, false) - whole).abs().max().item<double>() < 1e-6);
  CHECK(trained(100000, 1, true).equal(whole));
  CHECK((trained(100000, 2, false) - whole).abs().max().item<double>() > 1e-4);
}

TEST_CASE("bfloat16 adapters keep float32 master weights") {
  const auto backbone = random_model(qwen2_config(), false, 7, at::kBFloat16);
  const auto model = trained_adapter(backbone, {4, 2, 0, all_targets});
  const TokenRows rows({20, 9}, 37);
  const auto mask = whole_mask(rows);
  TrainerOptions options;
  options.optimizer = {1e-5, 0.9, 0.999, 0.0, 1e-8};
  Trainer trainer(model, nullptr, options);
  const at::Tensor before = model->flat().to(at::kFloat);
  for (int i = 0; i < 3; ++i) trainer.step({rows.view(), mask}, {});
  const auto starts = model->layout().named(before, "master.");
  double largest = 0;
  for (const NamedTensor& entry : trainer.export_state().actor) {
    for (const NamedTensor& start : starts) {
      if (start.name == entry.name)
        largest = std::max(largest, (entry.tensor - start.tensor).abs().max().item<double>());
    }
  }
  CHECK(largest == doctest::Approx(3e-5).epsilon(0.05));
}

TEST_CASE("copies, and what cannot be one") {
  const auto backbone = random_model(qwen2_config());
  const AdapterConfig adapter{4, 2, 0, all_targets};
  const auto model = trained_adapter(backbone, adapter);
  const auto copy = Model::add_adapter(backbone, adapter, false, 9);
  const uint64_t version = copy->version();
  copy->copy_from(*model);
  CHECK(copy->flat().equal(model->flat()));
  CHECK(copy->version() == version + 1);
  CHECK(model->clone(false)->backbone() == backbone);

  const auto other = random_model(qwen2_config());
  CHECK(code_of([&] { other->copy_from(*copy); }) == "INTERNAL");
  CHECK(code_of([&] { Model::add_adapter(model, adapter, false, 1); }) == "INTERNAL");
  CHECK(code_of([&] { backbone->merge(); }) == "INTERNAL");
}
