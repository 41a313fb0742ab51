// Where time goes at the shapes of Qwen2.5-0.5B, bfloat16, random weights: bench_llm [threads [layers [part
// of a name]]]. Processor time, so that a machine need not be quiet (with one thread).
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <numeric>

#include "engine/runtime.h"
#include "engine/session.h"
#include "engine/trainer.h"
#include "kernels/philox.h"

using namespace spa;

namespace {

ModelConfig shape(int64_t layers) {
  ModelConfig c;
  c.vocab = 151936, c.hidden = 896, c.intermediate = 4864, c.layers = layers, c.heads = 14, c.kv_heads = 2,
  c.head_dim = 64;
  c.qkv_bias = true, c.tied = true, c.max_positions = 4096;
  return c;
}

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

const char* wanted = "";

template <typename F>
void report(const char* name, double tokens, int repeats, const F& f) {
  if (std::strstr(name, wanted) == nullptr) return;
  f();
  double best = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const double start = cpu_seconds();
    f();
    best = std::min(best, cpu_seconds() - start);
  }
  std::printf("%-28s %10.1f tokens per processor second, %8.3f s\n", name, tokens / best, best);
  std::fflush(stdout);
}

struct Batch {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> offsets = {0};
  std::vector<uint8_t> mask;

  Batch(int rows, int shortest, int longest, int64_t vocab) {
    for (int row = 0; row < rows; ++row) {
      const int length = shortest + (longest - shortest) * row / std::max(1, rows - 1);
      for (int k = 0; k < length; ++k) {
        tokens.push_back(
            static_cast<int32_t>(static_cast<double>(vocab) * kernels::philox_uniform(1, row, k)));
        mask.push_back(k > 0 && k % 100 >= 40);
      }
      offsets.push_back(static_cast<uint32_t>(tokens.size()));
    }
  }
};

}  // namespace

int main(int count, char** arguments) {
  const int64_t layers = count > 2 ? std::atoi(arguments[2]) : 4;
  if (count > 3) wanted = arguments[3];
  const RuntimeLease lease(count > 1 ? std::atoi(arguments[1]) : 1);
  const auto model =
      Model::create(shape(layers), {at::kBFloat16, at::kCPU, 1, Initialization::standard, false});
  const int64_t vocab = model->config().vocab;
  {
    const Batch prompts(32, 200, 200, vocab);
    std::vector<int32_t> slots(32);
    std::iota(slots.begin(), slots.end(), 0);
    Session session(model, 32, 300, 1);
    report("prefill 32 x 200", 32 * 200, 1, [&] {
      session.release_all();
      session.extend(slots, {prompts.tokens, prompts.offsets});
    });
    report("decode 32 x 16", 32 * 16, 2, [&] {
      if (session.length(0) == 0) session.extend(slots, {prompts.tokens, prompts.offsets});
      session.generate({slots, std::vector<int32_t>(32, 16), {}, {}, {}});
    });
  }
  const Batch rows(8, 200, 700, vocab);
  const auto tokens = static_cast<double>(rows.tokens.size());
  report("score 8 x 200..700", tokens, 1, [&] { model->score({rows.tokens, rows.offsets}, {}); });
  if (std::strstr("sft 8 x 200..700", wanted) == nullptr) return 0;
  Trainer trainer(model, nullptr, {});
  report("sft 8 x 200..700", tokens, 1,
         [&] { trainer.step({{rows.tokens, rows.offsets}, rows.mask, {}, {}, {}, {}, {}, {}, {}}, {}); });
  return 0;
}
