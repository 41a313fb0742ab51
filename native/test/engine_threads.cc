// What more threads may change: speed, and the order of additions in gradients.
#include <ATen/Parallel.h>

#include <cmath>

#include "doctest_torch.h"
#include "engine/parallel.h"
#include "engine/runtime.h"
#include "engine/session.h"
#include "engine/trainer.h"
#include "reference_decoder.h"

using namespace spa;
using namespace spa::test;

namespace {

struct Outcome {
  std::vector<float> scores;
  GenerateResult generated;
  at::Tensor weights;
};

Outcome run(int threads, bool adapter) {
  const RuntimeLease lease(threads);
  lease.enter_thread();
  Outcome outcome;
  auto model = random_model(qwen3_config(), true);
  if (adapter) {
    model = Model::add_adapter(model, {4, 2, 0.2, {true, true, true, true, true, true, true}}, true, 1);
    model->flat().mul_(0.9).add_(0.01);
    model->mark_changed();
  }
  const TokenRows rows({70, 3, 41, 120, 1, 66, 90, 15}, model->config().vocab);
  outcome.scores = model->score(rows.view(), {}).log_probs;

  Session session(model, 8, 200, 5);
  GenerateRequest request{{0, 1, 2, 3, 4, 5, 6, 7}, std::vector<int32_t>(8, 60), {}, {5, 6}, {}};
  session.extend(request.slots, rows.view());
  outcome.generated = session.generate(request);

  std::vector<uint8_t> mask(rows.tokens.size(), 1);
  for (size_t row = 0; row + 1 < rows.offsets.size(); ++row) mask[rows.offsets[row]] = 0;
  TrainerOptions options;
  options.optimizer.epsilon = 1e-3;  // keeps tiny gradients from being blown up to a full step
  Trainer trainer(model, nullptr, options);
  const TrainBatch batch{rows.view(), mask};
  for (int i = 0; i < 3; ++i) trainer.step(batch, {});
  outcome.weights = model->flat();
  at::set_num_threads(1);
  return outcome;
}

}  // namespace

TEST_CASE("threads change no score and no sample, and updates only by the order of additions") {
  for (const bool adapter : {false, true}) {
    CAPTURE(adapter);
    const Outcome one = run(1, adapter), two = run(2, adapter), again = run(2, adapter),
                  three = run(3, adapter);
    CHECK(two.scores == one.scores);
    CHECK(three.scores == one.scores);
    CHECK(two.generated.tokens == one.generated.tokens);
    CHECK(two.generated.log_probs == one.generated.log_probs);
    CHECK((two.generated.finish == one.generated.finish));
    CHECK((two.weights - one.weights).abs().max().item<double>() < 1e-6);
    CHECK(again.weights.equal(two.weights));
  }
}

TEST_CASE("a model too large for side by side samples what it scores, and learns") {
  const RuntimeLease lease(2);
  lease.enter_thread();
  ModelConfig config = qwen2_config();
  config.vocab = 36000, config.hidden = 256, config.intermediate = 512, config.heads = 8,
  config.head_dim = 32;
  REQUIRE(!runs_side_by_side(config, at::kCPU));
  const auto model = Model::create(config, {at::kFloat, at::kCPU, 3, Initialization::nano, false});
  const TokenRows rows({40, 9, 70}, config.vocab);
  Session session(model, 3, 200, 5);
  GenerateRequest request{{0, 1, 2}, {12, 12, 12}, {}, {}, {}};
  session.extend(request.slots, rows.view());
  const auto generated = session.generate(request);

  TokenRows whole({}, config.vocab);
  for (size_t i = 0; i < 3; ++i) {
    whole.tokens.insert(whole.tokens.end(), rows.row(i).begin(), rows.row(i).end());
    const auto begin = generated.tokens.begin();
    whole.tokens.insert(whole.tokens.end(), begin + generated.offsets[i], begin + generated.offsets[i + 1]);
    whole.offsets.push_back(static_cast<uint32_t>(whole.tokens.size()));
  }
  const auto scores = model->score(whole.view(), {}).log_probs;
  std::vector<uint8_t> mask(whole.tokens.size(), 0);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t k = 0; k < 12; ++k) {
      const size_t token = whole.offsets[i] + rows.row(i).size() + k;
      mask[token] = 1;
      REQUIRE(std::abs(scores[token] - generated.log_probs[generated.offsets[i] + k]) < 1e-4);
    }
  }
  Trainer trainer(model, nullptr, {});
  const TrainBatch batch{whole.view(), mask};
  const double first = trainer.step(batch, {}).at("loss");
  for (int i = 0; i < 3; ++i) trainer.step(batch, {});
  CHECK(trainer.step(batch, {}).at("loss") < first);
  at::set_num_threads(1);
}
