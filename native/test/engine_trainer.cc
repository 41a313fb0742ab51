// The trainer: exact accumulation, optimiser formulas, bad numbers, abort, state.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "code_of.h"
#include "doctest_torch.h"
#include "engine/trainer.h"
#include "ppo_loss.h"
#include "reference_decoder.h"

using namespace spa;
using namespace spa::test;

namespace {

/// A PPO batch with everything in it.
struct PpoData {
  TokenRows rows;
  std::vector<uint8_t> mask, supervised, environment;
  std::vector<float> weights, old, advantages, reference, old_values, returns;

  explicit PpoData(const std::shared_ptr<Model>& model, uint64_t seed = 3)
      : rows({22, 9, 0, 30, 14, 3}, model->config().vocab, seed) {
    const size_t count = rows.tokens.size();
    old = model->score(rows.view(), {}).log_probs;
    mask.assign(count, 0), supervised.assign(count, 0), environment.assign(count, 0);
    weights.resize(count);
    advantages.resize(count), old_values.assign(count, 0.1f), returns.resize(count);
    for (size_t k = 0; k < count; ++k) {
      mask[k] = k % 3 != 0;
      supervised[k] = k % 5 == 0;
      environment[k] = k % 7 == 2;
      weights[k] = 0.5f + static_cast<float>(k % 4);
      advantages[k] = std::sin(static_cast<float>(k));
      returns[k] = std::cos(static_cast<float>(k));
      old[k] += 0.3f * std::sin(static_cast<float>(3 * k));
    }
    for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) {
      const uint32_t first = rows.offsets[row];
      if (first < count) mask[first] = supervised[first] = environment[first] = 0;
    }
    reference = old;
    for (float& entry : reference) entry -= 0.2f;
  }

  TrainBatch sft() const { return {rows.view(), mask}; }
  TrainBatch ppo(bool values) const {
    TrainBatch batch{rows.view(), mask, weights, old, advantages, reference, supervised, environment};
    if (values) batch.value_mask = mask, batch.old_values = old_values, batch.returns = returns;
    return batch;
  }
};

/// With every term.
LossOptions full_loss() {
  LossOptions loss = ppo_loss();
  loss.aggregation = Aggregation::seq_mean_token_mean;
  loss.entropy_coefficient = 0.01;
  loss.kl_coefficient = 0.1;
  loss.temperature = 0.9;
  loss.supervised_coefficient = 0.3;
  loss.environment_coefficient = 0.2;
  return loss;
}

double largest_difference(const Model& a, const Model& b) {
  return (a.flat() - b.flat()).abs().max().item<double>();
}

}  // namespace

TEST_CASE("the loss of SFT is the mean negative log-prob before the update, and it falls") {
  const auto model = random_model(qwen2_config());
  const PpoData data(model);
  const auto log_probs = model->score(data.rows.view(), {}).log_probs;
  double expected = 0, count = 0;
  for (size_t k = 0; k < log_probs.size(); ++k) {
    if (data.mask[k] != 0) expected -= log_probs[k], ++count;
  }
  Trainer trainer(model, nullptr, {});
  const auto first = trainer.step(data.sft(), {});
  CHECK(first.at("loss") == doctest::Approx(expected / count).epsilon(1e-5));
  CHECK(first.at("masked_tokens") == count);
  CHECK(first.at("tokens_trained") == static_cast<double>(data.rows.tokens.size()));
  double last = first.at("loss");
  for (int i = 0; i < 20; ++i) last = trainer.step(data.sft(), {}).at("loss");
  CHECK(last < 0.8 * first.at("loss"));
  CHECK(trainer.step_count() == 21);
  CHECK(model->version() == 2 + 21);
}

TEST_CASE("micro-batches give the update of the whole batch") {
  for (const bool shared : {true, false}) {
    std::shared_ptr<Model> models[2], critics[2];
    StepMetrics metrics[2];
    for (const int i : {0, 1}) {
      models[i] = random_model(qwen3_config(), true);
      critics[i] = shared ? models[i] : random_model(qwen2_config(), true, 8);
      const PpoData data(models[i]);
      TrainerOptions options;
      options.micro_batch_tokens = i == 0 ? 100000 : 20;
      options.optimizer.epsilon = 1e-3;  // keeps tiny gradients from being blown up to a full step
      Trainer trainer(models[i], critics[i], options);
      trainer.step(data.ppo(true), full_loss());
      metrics[i] = trainer.step(data.ppo(true), full_loss());
    }
    CHECK(largest_difference(*models[0], *models[1]) < 1e-6);
    CHECK(largest_difference(*critics[0], *critics[1]) < 1e-6);
    CHECK(metrics[0].at("loss") == doctest::Approx(metrics[1].at("loss")).epsilon(1e-5));
    CHECK(metrics[0].at("grad_norm") == doctest::Approx(metrics[1].at("grad_norm")).epsilon(1e-4));
    CHECK(metrics[0].at("kl") == doctest::Approx(metrics[1].at("kl")).epsilon(1e-4));
    CHECK(metrics[0].at("explained_variance") ==
          doctest::Approx(metrics[1].at("explained_variance")).epsilon(1e-4));
    CHECK(metrics[0].contains("critic_grad_norm") == !shared);
  }
}

TEST_CASE("one AdamW update with clipping and schedule follows the formula") {
  const auto model = random_model(qwen2_config(), true);
  const PpoData data(model);
  const at::Tensor before = model->flat().clone();
  // The gradient, through the trainer's own pass.
  const auto batch = data.sft();
  const LossOptions loss;
  TrainPass pass(batch, loss);
  pass.policy = pass.backbone = true;
  pass.policy_weights = aggregation_weights(data.mask, data.rows.offsets, Aggregation::token_mean);
  pass.trim_rows();
  const at::Tensor gradient = at::zeros({model->layout().size()});
  const std::vector<int64_t> all = {0, 1, 3, 4, 5};
  add_gradients(pass, all, model->decoder(64), at::kCPU, model->layout().views(gradient));

  TrainerOptions options;
  options.optimizer = {0.01, 0.8, 0.95, 0.1, 1e-6};
  options.gradient_clip = 0.05;
  options.schedule = {Schedule::Kind::constant, 4, 0, 0};
  Trainer trainer(model, nullptr, options);
  CHECK(trainer.learning_rate() == doctest::Approx(0.0025));
  const auto metrics = trainer.step(batch, loss);
  CHECK(metrics.at("learning_rate") == doctest::Approx(0.0025));
  const double norm = gradient.norm().item<double>();
  CHECK(metrics.at("grad_norm") == doctest::Approx(norm).epsilon(1e-4));
  const at::Tensor g = gradient * (0.05 / (norm + 1e-6));
  // At the first update the corrected moments are g and g^2.
  at::Tensor expected = before * (1 - 0.0025 * 0.1) - 0.0025 * g / (g.abs() + 1e-6);
  const int64_t backbone = model->layout().backbone_size();
  CHECK((model->flat() - expected).narrow(0, 0, backbone).abs().max().item<double>() < 2e-5);
  // The value head has no part in SFT.
  CHECK(model->flat().narrow(0, backbone, 25).equal(before.narrow(0, backbone, 25)));
}

TEST_CASE("bad numbers stop the step before anything is changed") {
  const auto model = random_model(qwen2_config(), true);
  PpoData data(model);
  Trainer trainer(model, model, {});
  trainer.step(data.ppo(true), full_loss());
  const at::Tensor before = model->flat().clone();
  const auto state = trainer.export_state();
  const at::Tensor moment = state.actor[0].tensor.clone();
  const auto version = model->version();
  const auto unchanged = [&] {
    CHECK(model->flat().equal(before));
    CHECK(trainer.export_state().actor[0].tensor.equal(moment));
    CHECK(model->version() == version);
    CHECK(trainer.step_count() == 1);
  };
  for (const float poison :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (auto* array : {&data.advantages, &data.returns, &data.old}) {
      const float kept = std::exchange((*array)[4], poison);
      if (!(array == &data.old && std::isinf(poison))) {
        CHECK(code_of([&] { trainer.step(data.ppo(true), full_loss()); }) == "NOT_FINITE");
        unchanged();
      }
      (*array)[4] = kept;
    }
  }
  // Aborted between micro-batches.
  std::atomic<bool> abort = false;
  const LongCall call{&abort, [&](int64_t, int64_t) { abort = true; }};
  CHECK(code_of([&] { trainer.step(data.ppo(true), full_loss(), call); }) == "ABORTED");
  unchanged();
}

TEST_CASE("bad batches are refused") {
  const auto model = random_model(qwen2_config());
  PpoData data(model);
  Trainer trainer(model, nullptr, {});
  CHECK(code_of([&] { trainer.step(data.ppo(true), full_loss()); }) == "INTERNAL");
  auto batch = data.ppo(false);
  batch.advantages = batch.advantages.first(3);
  CHECK(code_of([&] { trainer.step(batch, full_loss()); }) == "INTERNAL");
  batch = data.ppo(false);
  batch.reference_log_probs = {};
  CHECK(code_of([&] { trainer.step(batch, full_loss()); }) == "INTERNAL");
  data.mask[0] = 1;
  CHECK(code_of([&] { trainer.step(data.sft(), {}); }) == "INTERNAL");
  std::fill(data.mask.begin(), data.mask.end(), 0);
  CHECK(code_of([&] { trainer.step(data.sft(), {}); }) == "INTERNAL");
  CHECK_THROWS_AS(Trainer(model, model, {}), Error);
}

TEST_CASE("a value loss leaves the actor alone") {
  for (const bool shared : {true, false}) {
    const auto model = random_model(qwen2_config(), true);
    const auto critic = shared ? model : random_model(qwen2_config(), true, 8);
    const PpoData data(model);
    const at::Tensor before = model->flat().clone();
    Trainer trainer(model, critic, {});
    LossOptions loss = ppo_loss();
    loss.kind = LossKind::value;
    const auto metrics = trainer.step(data.ppo(true), loss);
    CHECK(metrics.at("value_loss") > 0);
    const int64_t backbone = model->layout().backbone_size();
    CHECK(model->flat().narrow(0, 0, backbone).equal(before.narrow(0, 0, backbone)));
    CHECK(model->flat().equal(before) == !shared);
  }
}

TEST_CASE("a trainer that takes over another's state goes on to the same numbers") {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    std::shared_ptr<Model> whole = random_model(qwen2_config(), true, 7, dtype), part = whole->clone(true);
    const PpoData data(whole);
    const auto run = [&](Trainer& trainer, int steps) {
      for (int i = 0; i < steps; ++i) trainer.step(data.ppo(true), full_loss());
    };
    TrainerOptions options;
    options.schedule = {Schedule::Kind::cosine, 2, 10, 0.1};
    Trainer through(whole, whole, options);
    run(through, 6);
    Trainer first(part, part, options);
    run(first, 3);
    const auto resumed = part->clone(true);
    Trainer second(resumed, resumed, options);
    second.import_state(first.export_state());
    run(second, 3);
    CHECK(second.step_count() == 6);
    CHECK(resumed->flat().equal(whole->flat()));

    auto broken = first.export_state();
    broken.actor.pop_back();
    CHECK(code_of([&] { second.import_state(broken); }) == "BAD_CHECKPOINT");
  }
}

TEST_CASE("bfloat16 keeps small updates in its master weights") {
  const auto model = random_model(qwen2_config(), false, 7, at::kBFloat16);
  const PpoData data(model);
  const at::Tensor before = model->flat().to(at::kFloat);
  TrainerOptions options;
  options.optimizer = {1e-5, 0.9, 0.999, 0.0, 1e-8};
  Trainer trainer(model, nullptr, options);
  for (int i = 0; i < 3; ++i) trainer.step(data.sft(), {});
  const auto starts = model->layout().named(before, "master.");
  double largest = 0;
  for (const NamedTensor& entry : trainer.export_state().actor) {
    for (const NamedTensor& start : starts) {
      if (start.name == entry.name)
        largest = std::max(largest, (entry.tensor - start.tensor).abs().max().item<double>());
    }
  }
  // Three steps of 1e-5 each: far below the spacing of bfloat16 numbers of size 0.1 and above.
  CHECK(largest == doctest::Approx(3e-5).epsilon(0.05));
}

TEST_CASE("tensors go to a file and come back; broken files are named") {
  const auto folder = std::filesystem::temp_directory_path() / "spa-weights-test";
  std::filesystem::create_directories(folder);
  const std::string path = folder / "model.safetensors";
  const auto model = random_model(llama_config(), true);
  const std::string header(16, ' ');
  write_tensors(path, header, model->parameters());
  std::vector<TensorEntry> entries;
  uint64_t position = header.size();
  for (const NamedTensor& entry : model->parameters()) {
    entries.push_back(
        {entry.name, "F32", entry.tensor.sizes().vec(), path, position, position + entry.tensor.nbytes()});
    position = entries.back().end;
  }
  CHECK(std::filesystem::file_size(path) == position);
  const auto loaded = Model::load(model->config(), entries, {});
  CHECK(loaded->has_value_head());
  for (size_t i = 0; i < entries.size(); ++i)
    CHECK(loaded->parameters()[i].tensor.equal(model->parameters()[i].tensor));

  const auto load_code = [&](std::vector<TensorEntry> changed) {
    return code_of([&] { Model::load(model->config(), changed, {}); });
  };
  auto changed = entries;
  changed.pop_back(), changed.erase(changed.begin() + 3);
  CHECK(load_code(changed) == "INTERNAL");
  changed = entries;
  std::swap(changed[0].shape[0], changed[0].shape[1]);
  CHECK(load_code(changed) == "INTERNAL");
  changed = entries;
  changed.back().begin += 1000, changed.back().end += 1000;
  CHECK(load_code(changed) == "BAD_CHECKPOINT");
  changed = entries;
  changed[1].name = "model.layers.9.foreign";
  CHECK(load_code(changed) == "INTERNAL");
  changed = entries;
  changed[1].dtype = "I64";
  CHECK(load_code(changed) == "INTERNAL");
  model->parameters()[2].tensor.view({-1})[0] = std::numeric_limits<float>::quiet_NaN();
  write_tensors(path, header, model->parameters());
  CHECK(load_code(entries) == "BAD_CHECKPOINT");
  std::filesystem::remove_all(folder);
  CHECK(load_code(entries) == "BAD_CHECKPOINT");
  CHECK(code_of([&] { write_tensors(folder / "none" / "x", header, {}); }) == "BAD_CHECKPOINT");
}
