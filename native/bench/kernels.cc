// Speed of the kernels on the shapes of the nano model: bench_kernels [threads]. Each figure is the best of
// many runs.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "engine/advantage.h"
#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/dispatch.h"
#include "kernels/embedding.h"
#include "kernels/kv_attention.h"
#include "kernels/linear.h"
#include "kernels/log_prob.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/sampling.h"
#include "kernels/swiglu.h"

using namespace spa;

namespace {

constexpr int64_t hidden = 64, intermediate = 176, heads = 4, kv_heads = 2, head_dim = 16, vocab = 54;
constexpr int64_t qkv_size = (heads + 2 * kv_heads) * head_dim;
const kernels::HeadShape shape{heads, kv_heads, head_dim, 0.25f};

/// Seconds of the fastest of many calls.
double seconds(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9, spent = 0;
  for (int i = 0; i < 2000 && (i < 5 || spent < 0.3); ++i) {
    const auto start = Clock::now();
    call();
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::min(best, elapsed);
    spent += elapsed;
  }
  return best;
}

void report(const char* what, double amount, const char* unit, const std::function<void()>& call) {
  const double time = seconds(call);
  std::printf("  %-44s %10.2f %s  (%.1f us)\n", what, amount / time, unit, time * 1e6);
}

void bench_linear() {
  std::printf("linear\n");
  for (const int64_t rows : {256, 1024, 4096}) {
    for (const auto& [in, out] : {std::pair<int64_t, int64_t>{64, 128}, {64, 64}, {64, 352}, {176, 64}}) {
      const at::Tensor x = at::randn({rows, in}), weight = at::randn({out, in}),
                       grad = at::randn({rows, out});
      const at::Tensor grad_weight = at::zeros({out, in});
      const kernels::PanelWeight panels(weight);
      const double flop = 2e-9 * static_cast<double>(rows * in * out);
      char name[64];
      std::snprintf(name, sizeof name, "%ld x %ld -> %ld", static_cast<long>(rows), static_cast<long>(in),
                    static_cast<long>(out));
      report(name, flop, "GFLOP/s", [&] { kernels::linear(x, panels); });
      report("  ATen", flop, "GFLOP/s", [&] { at::linear(x, weight); });
      report("  input gradient", flop, "GFLOP/s", [&] { kernels::linear_input_gradient(grad, weight); });
      report("  weight gradient", flop, "GFLOP/s",
             [&] { kernels::accumulate_linear_gradient(grad, x, grad_weight); });
    }
  }
}

void bench_attention() {
  std::printf("attention, packed (causal FLOP: 2 products forward, 5 backward)\n");
  for (const int64_t length : {32, 100, 300, 600}) {
    const int64_t sequences = 4096 / length, tokens = sequences * length;
    std::vector<int32_t> offsets;
    for (int64_t i = 0; i <= sequences; ++i) offsets.push_back(static_cast<int32_t>(i * length));
    const at::Tensor starts = at::tensor(offsets, at::kInt);
    const at::Tensor qkv = at::randn({tokens, qkv_size}), grad = at::randn({tokens, hidden});
    const auto forward = kernels::attention(qkv, shape, starts);
    const double pairs = static_cast<double>(tokens) * static_cast<double>(length + 1) / 2;
    const double flop = 2e-9 * pairs * static_cast<double>(heads * head_dim);
    std::printf(" length %ld\n", static_cast<long>(length));
    report("forward", 1e-6 * static_cast<double>(tokens), "Mtok/s",
           [&] { kernels::attention(qkv, shape, starts); });
    report("forward", 2 * flop, "GFLOP/s", [&] { kernels::attention(qkv, shape, starts); });
    report("backward", 1e-6 * static_cast<double>(tokens), "Mtok/s",
           [&] { kernels::attention_backward(grad, qkv, forward, shape, starts); });
    report("backward", 5 * flop, "GFLOP/s",
           [&] { kernels::attention_backward(grad, qkv, forward, shape, starts); });
  }
}

void bench_decode() {
  std::printf("attention over the cache, 256 slots\n");
  const int64_t slots = 256, blocks = 12;
  for (const auto storage : {at::kFloat, at::kBFloat16}) {
    const at::Tensor pool = at::zeros({slots * blocks, kernels::kv_block_size(kv_heads, head_dim)}, storage);
    const at::Tensor tables = at::arange(slots * blocks, at::kInt).view({slots, blocks});
    const at::Tensor qkv = at::randn({slots, qkv_size});
    const at::Tensor offsets = at::arange(slots + 1, at::kInt);
    for (const int64_t context : {60, 120, 350}) {
      const kernels::KvRows rows{offsets, at::full({slots}, context, at::kInt), tables};
      char name[64];
      std::snprintf(name, sizeof name, "decode at %ld tokens, %s", static_cast<long>(context),
                    storage == at::kFloat ? "float32" : "bfloat16");
      report(name, 1e-6 * slots, "Mtok/s", [&] { kernels::append_and_attend(qkv, pool, shape, rows); });
    }
    const at::Tensor prompt = at::randn({slots * 60, qkv_size});
    const kernels::KvRows rows{offsets * 60, at::full({slots}, 100, at::kInt), tables};
    report("prefill 60 at 100 tokens", 1e-6 * static_cast<double>(slots * 60), "Mtok/s",
           [&] { kernels::append_and_attend(prompt, pool, shape, rows); });
  }
}

void bench_rows() {
  const int64_t rows = 2048;
  const double tokens = 1e-6 * static_cast<double>(rows);
  std::printf("rows, %ld tokens\n", static_cast<long>(rows));
  const at::Tensor x = at::randn({rows, hidden}), delta = at::randn({rows, hidden}) * 1e-6,
                   weight = at::randn({hidden});
  const auto normed = kernels::rms_norm(x, weight, 1e-6);
  const at::Tensor grad_weight = at::zeros({hidden});
  report("rms_norm", tokens, "Mtok/s", [&] { kernels::rms_norm(x, weight, 1e-6); });
  report("rms_norm backward", tokens, "Mtok/s",
         [&] { kernels::rms_norm_backward(x, x, weight, normed.inverse_rms, delta, grad_weight); });
  const auto tables = kernels::rope_tables(at::arange(head_dim / 2, at::kDouble) * 0.1, rows);
  const at::Tensor positions = at::arange(rows, at::kLong), qkv = at::randn({rows, qkv_size});
  report("rope", tokens, "Mtok/s",
         [&] { kernels::rope_(qkv, heads + kv_heads, head_dim, tables, positions); });
  const at::Tensor gate_up = at::randn({rows, 2 * intermediate}), grad = at::randn({rows, intermediate});
  report("swiglu", tokens, "Mtok/s", [&] { kernels::swiglu(gate_up); });
  report("swiglu backward", tokens, "Mtok/s", [&] { kernels::swiglu_backward(grad, gate_up); });
  const at::Tensor table = at::randn({vocab, hidden}), grad_table = at::zeros({vocab, hidden});
  const at::Tensor ids = at::randint(vocab, {rows}, at::kLong), ones = at::ones({rows});
  report("embedding", tokens, "Mtok/s", [&] { kernels::embedding(table, ids); });
  report("embedding gradient", tokens, "Mtok/s",
         [&] { kernels::accumulate_embedding_gradient(x, ids, grad_table); });
  const auto scores = kernels::token_log_probs(x, table, ids, 1.0, true);
  report("log-probs and entropy", tokens, "Mtok/s",
         [&] { kernels::token_log_probs(x, table, ids, 1.0, true); });
  report("log-probs and entropy backward", tokens, "Mtok/s",
         [&] { kernels::token_log_probs_backward(x, table, ids, 1.0, scores, ones, ones, grad_table); });
  const at::Tensor logits = at::randn({rows, vocab}) * 2, large = at::randn({64, 151936}) * 2;
  report("sample, vocabulary 54", tokens, "Mtok/s",
         [&] { kernels::sample(logits, {}, positions, positions); });
  report("sample, top-p 0.9", tokens, "Mtok/s",
         [&] { kernels::sample(logits, {1.0, 0, 0.9, 1}, positions, positions); });
  report("sample, vocabulary 151936", 64e-6, "Mtok/s",
         [&] { kernels::sample(large, {}, positions, positions); });
}

void bench_vectors() {
  std::printf("vectors\n");
  const int64_t n = 189000, tokens = 250000;
  const kernels::AdamWBuffers buffers{at::randn({n}), at::randn({n}), at::zeros({n}), at::zeros({n}), {}};
  report("adamw", 1e-6 * static_cast<double>(n), "M/s", [&] { kernels::adamw_({buffers}, {}); });
  report("squared norm", 1e-6 * static_cast<double>(n), "M/s",
         [&] { kernels::squared_norm({buffers.gradient}); });
  std::vector<float> rewards(tokens, 0.0f), values(tokens), advantages(tokens), returns(tokens);
  std::vector<uint8_t> mask(tokens);
  std::vector<uint32_t> offsets, ends;
  for (int64_t i = 0; i < tokens; ++i) {
    values[i] = std::sin(static_cast<float>(i));
    mask[i] = i % 100 >= 30;
    if (i % 500 == 0) offsets.push_back(static_cast<uint32_t>(i));
    if (i % 100 == 99) ends.push_back(static_cast<uint32_t>(i));
  }
  offsets.push_back(static_cast<uint32_t>(tokens));
  const AdvantageInput input{rewards, values, mask, offsets};
  const AdvantageOutput output{advantages, returns};
  report("gae", 1e-6 * static_cast<double>(tokens), "M/s", [&] { gae(input, 0.99, 0.95, output); });
  report("bi-level gae", 1e-6 * static_cast<double>(tokens), "M/s",
         [&] { bi_level_gae(input, ends, 0.99, 0.95, 0.95, output); });
  report("whiten", 1e-6 * static_cast<double>(tokens), "M/s", [&] { whiten(values, mask, advantages); });
}

}  // namespace

int main(int argc, char** argv) {
  at::set_num_threads(argc > 1 ? std::atoi(argv[1]) : 1);
  if (argc > 2) {
    const std::string_view wanted = argv[2];
    kernels::cpu::use(wanted == "avx512" ? kernels::cpu::Isa::avx512
                      : wanted == "avx2" ? kernels::cpu::Isa::avx2
                                         : kernels::cpu::Isa::baseline);
  }
  std::printf("%s, %d threads\n", kernels::cpu::table().name, at::get_num_threads());
  bench_linear();
  bench_attention();
  bench_decode();
  bench_rows();
  bench_vectors();
}
