// What more threads may change: speed, and the order of additions in gradients.
#include <ATen/Parallel.h>

#include "doctest_torch.h"
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

Outcome run(int threads) {
  const RuntimeLease lease(threads);
  lease.enter_thread();
  Outcome outcome;
  const auto model = random_model(qwen3_config(), true);
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
  const TrainBatch batch{rows.view(), mask, {}, {}, {}, {}, {}, {}, {}};
  for (int i = 0; i < 3; ++i) trainer.step(batch, {});
  outcome.weights = model->flat();
  at::set_num_threads(1);
  return outcome;
}

}  // namespace

TEST_CASE("threads change no score and no sample, and updates only by the order of additions") {
  const Outcome one = run(1), two = run(2), again = run(2), three = run(3);
  CHECK(two.scores == one.scores);
  CHECK(three.scores == one.scores);
  CHECK(two.generated.tokens == one.generated.tokens);
  CHECK(two.generated.log_probs == one.generated.log_probs);
  CHECK((two.generated.finish == one.generated.finish));
  CHECK((two.weights - one.weights).abs().max().item<double>() < 1e-6);
  CHECK(again.weights.equal(two.weights));
}
