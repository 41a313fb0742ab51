// Products and the output layer on AMX tiles; where a machine has none there is nothing to test.
#include <ATen/Parallel.h>

#include "kernels/dispatch.h"
#include "kernels/linear.h"
#include "kernels/log_prob.h"
#include "kernels/tile_linear.h"
#include "reference.h"

using namespace spa;
using test::error;

namespace {

bool have_tiles() {
  return kernels::product_of(1024, 1024, at::kBFloat16, at::kCPU) == kernels::Product::tiles;
}

at::Tensor random_bf16(at::IntArrayRef sizes, uint64_t seed) {
  return test::random(sizes, seed).to(at::kBFloat16);
}

constexpr double rounding = 0.004;  // half a unit of bfloat16's last place, relative

}  // namespace

TEST_CASE("tiles: linear, its gradients, in sizes that do not fill a block") {
  if (!have_tiles()) return;
  for (const auto& [rows, in, out] : {std::tuple<int64_t, int64_t, int64_t>{1, 32, 32},
                                      {17, 64, 96},
                                      {32, 2496, 64},  // depth in two parts
                                      {77, 96, 2496},
                                      {2500, 32, 64}}) {  // rows in two parts, for the weight's gradient
    CAPTURE(rows);
    CAPTURE(in);
    const at::Tensor x = random_bf16({rows, in}, 1), weight = random_bf16({out, in}, 2);
    const at::Tensor bias = random_bf16({out}, 3), add = random_bf16({rows, out}, 4);
    const at::Tensor exact = at::linear(x.to(at::kDouble), weight.to(at::kDouble));
    CHECK(error(kernels::tile_linear(x, weight, {}, {}, at::kFloat), exact) < 1e-5);
    CHECK(error(kernels::tile_linear(x, weight, {}, {}, at::kBFloat16), exact) < rounding);
    CHECK(error(kernels::tile_linear(x, weight, bias, add, at::kBFloat16),
                exact + bias.to(at::kDouble) + add.to(at::kDouble)) < rounding);

    const at::Tensor grad = random_bf16({rows, out}, 5);
    CHECK(error(kernels::tile_input_gradient(grad, weight),
                at::mm(grad.to(at::kDouble), weight.to(at::kDouble))) < rounding);
    const at::Tensor grad_weight = test::random({out, in}, 6);
    const at::Tensor expected =
        grad_weight.to(at::kDouble) + at::mm(grad.t().to(at::kDouble), x.to(at::kDouble));
    kernels::tile_weight_gradient(grad, x, grad_weight);
    CHECK(error(grad_weight, expected) < 1e-5);
  }
}

TEST_CASE("tiles: a row's result depends on that row alone, and not on the threads") {
  if (!have_tiles()) return;
  const at::Tensor x = random_bf16({300, 288}, 1), weight = random_bf16({1024, 288}, 2);
  const at::Tensor wide = at::cat({x, x}, 1), rows = wide.narrow(1, 0, 288);  // not dense
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto run = [&] {
    const at::Tensor grad = kernels::tile_linear(rows, weight, {}, {}, at::kBFloat16);
    const at::Tensor grad_weight = at::zeros({1024, 288});
    kernels::tile_weight_gradient(grad, rows, grad_weight);
    return std::vector<at::Tensor>{grad, kernels::tile_input_gradient(grad, weight), grad_weight};
  };
  const auto expected = run();
  CHECK(at::equal(kernels::tile_linear(rows.narrow(0, 37, 5), weight, {}, {}, at::kBFloat16),
                  expected[0].narrow(0, 37, 5)));
  CHECK(at::equal(kernels::tile_input_gradient(expected[0].narrow(0, 101, 40), weight),
                  expected[1].narrow(0, 101, 40)));
  at::set_num_threads(3);
  const auto actual = run();
  at::set_num_threads(before);
  for (size_t i = 0; i < expected.size(); ++i) CHECK(at::equal(actual[i], expected[i]));
}

TEST_CASE("tiles: log-probs, entropies and their gradients against float64") {
  if (!have_tiles()) return;
  const int64_t vocab = 4128, width = 64;
  for (const int64_t tokens : {1, 45, 2100}) {
    for (const double temperature : {1.0, 0.7}) {
      CAPTURE(tokens);
      const at::Tensor hidden = random_bf16({tokens, width}, 1), weight = random_bf16({vocab, width}, 2);
      const at::Tensor targets = (at::arange(tokens, at::kLong) * 137 + 2047).remainder(vocab);
      const at::Tensor gp = test::random({tokens}, 3), ge = test::random({tokens}, 4);
      const at::Tensor hidden64 = test::leaf(hidden), weight64 = test::leaf(weight);
      const at::Tensor log_p = at::log_softmax(at::linear(hidden64, weight64) / temperature, 1);
      const at::Tensor expected = log_p.gather(1, targets.unsqueeze(1)).squeeze(1);
      const at::Tensor entropy = -(log_p.exp() * log_p).sum(1);
      (expected * gp + entropy * ge).sum().backward();

      const auto result = kernels::token_log_probs(hidden, weight, targets, temperature, true);
      CHECK(error(result.log_prob, expected) < 1e-5);
      CHECK(error(result.entropy, entropy) < 1e-5);
      const at::Tensor grad_weight = at::zeros({vocab, width});
      const at::Tensor grad_hidden = kernels::token_log_probs_backward(hidden, weight, targets, temperature,
                                                                       result, gp, ge, grad_weight);
      CHECK(error(grad_hidden, hidden64.grad()) < 2 * rounding);  // of the logits' gradient and of the sum
      CHECK(error(grad_weight, weight64.grad()) < rounding);

      const auto plain = kernels::token_log_probs(hidden, weight, targets, temperature, false);
      CHECK(at::equal(plain.log_prob, result.log_prob));
      const at::Tensor alone = kernels::token_log_probs(hidden.narrow(0, tokens - 1, 1), weight,
                                                        targets.narrow(0, tokens - 1, 1), temperature, false)
                                   .log_prob;
      CHECK(at::equal(alone, result.log_prob.narrow(0, tokens - 1, 1)));
    }
  }
}

TEST_CASE("tiles: the log-prob of a training pass is that of the logits that were sampled from") {
  if (!have_tiles()) return;
  const at::Tensor hidden = random_bf16({40, 64}, 1), weight = random_bf16({2080, 64}, 2);
  const at::Tensor targets = at::arange(40, at::kLong) * 51;
  const at::Tensor logits = kernels::wide_linear(hidden, weight);
  CHECK((logits.scalar_type() == at::kFloat));
  const at::Tensor expected =
      at::log_softmax(logits.to(at::kDouble), 1).gather(1, targets.unsqueeze(1)).squeeze(1);
  CHECK(error(kernels::token_log_probs(hidden, weight, targets, 1.0, false).log_prob, expected) < 2e-6);
}

TEST_CASE("tiles: switched off, products go through ATen") {
  if (!have_tiles()) return;
  const at::Tensor x = random_bf16({40, 512}, 1), weight = random_bf16({512, 512}, 2);
  const at::Tensor with = kernels::linear(x, weight);
  CHECK(kernels::use_tiles(false));
  CHECK_FALSE(have_tiles());
  const at::Tensor without = kernels::linear(x, weight);
  CHECK_FALSE(kernels::use_tiles(true));
  CHECK(error(with, without) < 2 * rounding);
}
