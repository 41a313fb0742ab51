// Tokens per second of sampling, scoring and training on the nano shape. Usage: bench_engine [threads [part
// of a name]]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <numeric>

#include "engine/runtime.h"
#include "engine/session.h"
#include "engine/trainer.h"
#include "kernels/philox.h"

using namespace spa;

namespace {

ModelConfig nano() {
  ModelConfig c;
  c.vocab = 100, c.hidden = 64, c.intermediate = 176, c.layers = 4, c.heads = 4, c.kv_heads = 2,
  c.head_dim = 16;
  c.qkv_bias = true, c.tied = true, c.max_positions = 4096;
  return c;
}

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const char* wanted = "";  // only measurements whose name holds this

/// Best of `repeats` after one to warm up, by the clock and (for a machine that is not quiet) by processor
/// time.
template <typename F>
void report(const char* name, double tokens, int repeats, const F& f) {
  if (std::strstr(name, wanted) == nullptr) return;
  f();
  double wall = 1e30, cpu = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const double wall_start = wall_seconds(), cpu_start = cpu_seconds();
    f();
    wall = std::min(wall, wall_seconds() - wall_start);
    cpu = std::min(cpu, cpu_seconds() - cpu_start);
  }
  std::printf("%-28s %10.0f tokens/s, %10.0f tokens per processor second\n", name, tokens / wall,
              tokens / cpu);
  std::fflush(stdout);
}

struct Batch {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> offsets = {0};
  std::vector<uint8_t> mask;

  Batch(int rows, int length, int prompt) {
    for (int row = 0; row < rows; ++row) {
      for (int k = 0; k < length; ++k) {
        tokens.push_back(static_cast<int32_t>(100 * kernels::philox_uniform(1, row, k)));
        mask.push_back(k >= prompt);
      }
      offsets.push_back(static_cast<uint32_t>(tokens.size()));
    }
  }
};

}  // namespace

int main(int count, char** arguments) {
  if (count > 2) wanted = arguments[2];
  const RuntimeLease lease(count > 1 ? std::atoi(arguments[1]) : 1);
  const auto model = Model::create(nano(), {at::kFloat, at::kCPU, 1, Initialization::nano, true});

  const Batch prompts(256, 30, 0);
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

  const Batch rows(64, 110, 30);
  const Batch long_rows(16, 500, 30);
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
  report("ppo + critic 64 x 110", tokens, 10, [&] {
    ppo.step({{rows.tokens, rows.offsets}, rows.mask, old, numbers, {}, {}, rows.mask, numbers, numbers},
             loss);
  });
  return 0;
}
