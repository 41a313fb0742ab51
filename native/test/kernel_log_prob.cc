#include "kernels/log_prob.h"
#include "reference.h"

using namespace spa;
using test::error;

TEST_CASE("token log-probs: values, entropy and gradients, chunked") {
  test::on_each_isa([] {
    for (const auto& [tokens, width, vocab] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                               {5, 3, 2},
                                               {100, 64, 54},
                                               {37, 24, 515},
                                               {300, 16, 33},
                                               {0, 16, 9}}) {
      for (const double temperature : {1.0, 0.7, 2.5}) {
        CAPTURE(vocab);
        CAPTURE(temperature);
        const at::Tensor hidden = test::random({tokens, width}, 1), weight = test::random({vocab, width}, 2);
        const at::Tensor targets = (at::arange(tokens, at::kLong) * 31).remainder(vocab);
        const at::Tensor gp = test::random({tokens}, 3), ge = test::random({tokens}, 4);
        const at::Tensor hidden64 = test::leaf(hidden), weight64 = test::leaf(weight);
        const at::Tensor log_p = at::log_softmax(at::linear(hidden64, weight64) / temperature, 1);
        const at::Tensor expected = log_p.gather(1, targets.unsqueeze(1)).squeeze(1);
        const at::Tensor entropy = -(log_p.exp() * log_p).sum(1);
        (expected * gp + entropy * ge).sum().backward();

        const int64_t budget = vocab * 7;  // several chunks
        const auto result = kernels::token_log_probs(hidden, weight, targets, temperature, true, budget);
        CHECK(error(result.log_prob, expected) < 3e-6);
        CHECK(error(result.entropy, entropy) < 3e-6);
        const at::Tensor grad_weight = at::zeros_like(weight);
        const at::Tensor grad_hidden = kernels::token_log_probs_backward(hidden, weight, targets, temperature,
                                                                         result, gp, ge, grad_weight, budget);
        CHECK(error(grad_hidden, hidden64.grad()) < 1e-5);
        CHECK(error(grad_weight, weight64.grad()) < 1e-5);
        const auto whole = kernels::token_log_probs(hidden, weight, targets, temperature, false);
        CHECK(at::equal(whole.log_prob, result.log_prob));
        CHECK(!whole.entropy.defined());
      }
    }
  });
}

TEST_CASE("token log-probs: without entropy, in float64 and bfloat16") {
  const at::Tensor hidden = test::random({20, 8}, 1), weight = test::random({30, 8}, 2),
                   gp = test::random({20}, 3);
  const at::Tensor targets = at::arange(20, at::kLong);
  const at::Tensor hidden64 = test::leaf(hidden), weight64 = test::leaf(weight);
  const at::Tensor expected =
      at::log_softmax(at::linear(hidden64, weight64), 1).gather(1, targets.unsqueeze(1)).squeeze(1);
  (expected * gp).sum().backward();
  const auto result = kernels::token_log_probs(hidden, weight, targets, 1.0, false);
  CHECK(error(kernels::token_log_probs_backward(hidden, weight, targets, 1.0, result, gp, {}, {}),
              hidden64.grad()) < 1e-5);
  const at::Tensor wide_hidden = hidden.to(at::kDouble), wide_weight = weight.to(at::kDouble);
  const auto wide = kernels::token_log_probs(wide_hidden, wide_weight, targets, 1.0, true);
  CHECK(error(wide.log_prob, expected) < 1e-12);
  const at::Tensor grad_weight = at::zeros_like(wide_weight);
  const at::Tensor grad =
      kernels::token_log_probs_backward(wide_hidden, wide_weight, targets, 1.0, wide, gp.to(at::kDouble),
                                        at::zeros({20}, at::kDouble), grad_weight);
  CHECK(error(grad, hidden64.grad()) < 1e-12);
  CHECK(error(grad_weight, weight64.grad()) < 1e-12);
  const auto narrow =
      kernels::token_log_probs(hidden.to(at::kBFloat16), weight.to(at::kBFloat16), targets, 1.0, false);
  CHECK(error(narrow.log_prob, expected) < 5e-2);
}

TEST_CASE("token log-probs: improbable tokens stay finite") {
  test::on_each_isa([] {
    const at::Tensor hidden = at::full({2, 1}, 1.0f), weight = at::tensor({0.f, 500.f, -500.f}).view({3, 1});
    const auto result = kernels::token_log_probs(hidden, weight, at::tensor({2, 1}, at::kLong), 1.0, true);
    CHECK(error(result.log_prob, at::tensor({-1000.f, 0.f})) < 1e-6);
    CHECK(error(result.entropy, at::zeros({2})) < 1e-6);
    const at::Tensor gradient = kernels::token_log_probs_backward(
        hidden, weight, at::tensor({2, 1}, at::kLong), 1.0, result, at::ones({2}), at::ones({2}), {});
    CHECK(at::isfinite(gradient).all().item<bool>());
  });
}

TEST_CASE("token log-probs: what is not a number stays visible, in its own row only") {
  test::on_each_isa([] {
    const at::Tensor hidden = test::random({5, 8}, 1), weight = test::random({20, 8}, 2);
    hidden.select(0, 2).select(0, 3).fill_(NAN);
    const auto result = kernels::token_log_probs(hidden, weight, at::arange(5, at::kLong), 1.0, true);
    const at::Tensor finite = at::tensor({1, 1, 0, 1, 1}, at::kInt).to(at::kBool);
    CHECK(at::equal(at::isfinite(result.log_prob), finite));
    CHECK(at::equal(at::isfinite(result.entropy), finite));
  });
}
