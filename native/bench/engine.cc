// Tokens per second of sampling, scoring and training on the nano shape. Usage: bench_engine [threads [part
// of a name]]
#include <cstdlib>
#include <numeric>

#include "engine/runtime.h"
#include "engine/session.h"
#include "engine/trainer.h"
#include "measure.h"

using namespace spa;
using namespace spa::test;

namespace {

ModelConfig nano() {
  ModelConfig c;
  c.vocab = 100, c.hidden = 64, c.intermediate = 176, c.layers = 4, c.heads = 4, c.kv_heads = 2,
  c.head_dim = 16;
  c.qkv_bias = true, c.tied = true, c.max_positions = 4096;
  return c;
}

/// Prompts of 30 tokens.
bool after_prompt(int k) { return k >= 30; }

}  // namespace

int main(int count, char** arguments) {
  if (count > 2) wanted = arguments[2];
  const RuntimeLease lease(count > 1 ? std::atoi(arguments[1]) : 1);
  const auto model = Model::create(nano(), {at::kFloat, at::kCPU, 1, Initialization::nano, true});
  const int64_t vocab = model->config().vocab;

  const Rows prompts(256, 30, 30, vocab, after_prompt);
  std::vector<int32_t> slots(256);
  std::iota(slots.begin(), slots.end(), 0);
  Session session(model, 256, 512, 1);
  report("generate 256 x (30 + 96)", 256 * 96, 5, [&] {
    session.release_all();
    session.extend(slots, {prompts.tokens, prompts.offsets});
    session.generate({slots, std::vector<int32_t>(256, 96), {}, {}, {}});
  });
  report("generate 256 x (30 + 400)", 256 * 400, 2, [&] {
    session.release_all();
    session.extend(slots, {prompts.tokens, prompts.offsets});
    session.generate({slots, std::vector<int32_t>(256, 400), {}, {}, {}});
  });
  report("generate 8 x (30 + 96)", 8 * 96, 5, [&] {
    session.release_all();
    const std::vector<int32_t> few(slots.begin(), slots.begin() + 8);
    session.extend(few, {std::span(prompts.tokens).first(240), std::span(prompts.offsets).first(9)});
    session.generate({few, std::vector<int32_t>(8, 96), {}, {}, {}});
  });

  const Rows rows(64, 110, 110, vocab, after_prompt);
  const Rows long_rows(16, 500, 500, vocab, after_prompt);
  const double tokens = 64 * 110;
  report("score 64 x 110", tokens, 10,
         [&] { model->score({rows.tokens, rows.offsets}, {true, true, true}); });
  Trainer trainer(model, nullptr, {});
  report("sft 64 x 110", tokens, 10,
         [&] { trainer.step({{rows.tokens, rows.offsets}, rows.mask, {}, {}, {}, {}, {}, {}, {}}, {}); });
  report("sft 16 x 110", 16 * 110, 20, [&] {
    trainer.step({{std::span(rows.tokens).first(1760), std::span(rows.offsets).first(17)},
                  std::span(rows.mask).first(1760),
                  {},
                  {},
                  {},
                  {},
                  {},
                  {},
                  {}},
                 {});
  });
  report("sft 16 x 500", 16 * 500, 10, [&] {
    trainer.step({{long_rows.tokens, long_rows.offsets}, long_rows.mask, {}, {}, {}, {}, {}, {}, {}}, {});
  });
  const auto critic = model->clone(true);
  Trainer ppo(model, critic, {});
  const std::vector<float> numbers(rows.tokens.size(), 0.5f),
      old = model->score({rows.tokens, rows.offsets}, {}).log_probs;
  LossOptions loss;
  loss.kind = LossKind::ppo;
  loss.clip_low = loss.clip_high = 0.2;
  loss.value_clip = loss.value_coefficient = 0.5;
  loss.temperature = 1;
  report("ppo + critic 64 x 110", tokens, 10, [&] {
    ppo.step({{rows.tokens, rows.offsets}, rows.mask, old, numbers, {}, {}, rows.mask, numbers, numbers},
             loss);
  });
  return 0;
}
