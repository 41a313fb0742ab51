// Where time goes at the shapes of Qwen2.5-0.5B, bfloat16, random weights: bench_llm [threads [layers [part
// of a name]]].
#include <cstdlib>
#include <numeric>

#include "engine/runtime.h"
#include "engine/session.h"
#include "engine/trainer.h"
#include "measure.h"

using namespace spa;
using namespace spa::test;

namespace {

ModelConfig shape(int64_t layers) {
  ModelConfig c;
  c.vocab = 151936, c.hidden = 896, c.intermediate = 4864, c.layers = layers, c.heads = 14, c.kv_heads = 2,
  c.head_dim = 64;
  c.qkv_bias = true, c.tied = true, c.max_positions = 4096;
  return c;
}

/// Turns of 100 tokens, the last 60 the model's own.
bool in_reply(int k) { return k % 100 >= 40; }

}  // namespace

int main(int count, char** arguments) {
  const int64_t layers = count > 2 ? std::atoi(arguments[2]) : 4;
  if (count > 3) wanted = arguments[3];
  const RuntimeLease lease(count > 1 ? std::atoi(arguments[1]) : 1);
  const auto model =
      Model::create(shape(layers), {at::kBFloat16, at::kCPU, 1, Initialization::standard, false});
  const int64_t vocab = model->config().vocab;
  {
    const Rows prompts(32, 200, 200, vocab, in_reply);
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
  const Rows rows(8, 200, 700, vocab, in_reply);
  const auto tokens = static_cast<double>(rows.tokens.size());
  report("score 8 x 200..700", tokens, 1, [&] { model->score({rows.tokens, rows.offsets}, {}); });
  if (std::strstr("sft 8 x 200..700", wanted) == nullptr) return 0;
  Trainer trainer(model, nullptr, {});
  report("sft 8 x 200..700", tokens, 1,
         [&] { trainer.step({{rows.tokens, rows.offsets}, rows.mask, {}, {}, {}, {}, {}, {}, {}}, {}); });
  return 0;
}
