#include "kernel_test.h"

using namespace spa;
using namespace spa::test;

namespace {

struct Case {
  int64_t rows, vocab;
  double temperature;
  std::vector<float> logits = normal<float>(rows * vocab, 1, 6.0), grad_log_prob = normal<float>(rows, 2),
                     grad_entropy = normal<float>(rows, 3);
  std::vector<int64_t> targets = std::vector<int64_t>(rows);

  Case(int64_t row_count, int64_t vocabulary, double t) : rows(row_count), vocab(vocabulary), temperature(t) {
    for (int64_t i = 0; i < rows; ++i) targets[i] = i * 7919 % vocab;
  }

  float inverse() const { return static_cast<float>(1 / temperature); }

  /// Log-prob, entropy and log-sum-exp.
  std::vector<Numbers> forward() const {
    std::vector<Numbers> result(3);
    for (int64_t i = 0; i < rows; ++i) {
      const float* z = logits.data() + i * vocab;
      double total = 0, entropy = 0;
      for (int64_t j = 0; j < vocab; ++j) total += std::exp(z[j] / temperature);
      for (int64_t j = 0; j < vocab; ++j) {
        const double log_p = z[j] / temperature - std::log(total);
        if (std::isfinite(log_p)) entropy -= std::exp(log_p) * log_p;
      }
      result[0].push_back(z[targets[i]] / temperature - std::log(total));
      result[1].push_back(entropy);
      result[2].push_back(std::log(total));
    }
    return result;
  }

  Numbers backward(const std::vector<Numbers>& statistics, bool with_entropy) const {
    Numbers result;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < vocab; ++j) {
        const double log_p = logits[i * vocab + j] / temperature - statistics[2][i], p = std::exp(log_p);
        double value = p > 0 ? -p * grad_log_prob[i] : 0;
        if (with_entropy && p > 0) value -= p * grad_entropy[i] * (log_p + statistics[1][i]);
        if (j == targets[i]) value += grad_log_prob[i];
        result.push_back(value / temperature);
      }
    }
    return result;
  }

  std::vector<Numbers> run_forward(bool with_entropy) const {
    const auto z = input(logits);
    const auto at = input(targets);
    const DeviceArray<float> log_prob(rows), entropy(with_entropy ? rows : 0), log_sum_exp(rows);
    kernels::cuda::log_prob({rows, vocab, z.data(), at.data(), inverse(), log_prob.data(),
                             with_entropy ? entropy.data() : nullptr, log_sum_exp.data()},
                            nullptr);
    return {written(log_prob), written(entropy), written(log_sum_exp)};
  }

  template <typename T>
  std::vector<Numbers> run_backward(const std::vector<Numbers>& statistics, bool with_entropy) const {
    const auto floats = [](const Numbers& x) { return std::vector<float>(x.begin(), x.end()); };
    const DeviceArray<float> z(logits);
    const auto at = input(targets);
    const auto entropy = input(floats(statistics[1])), log_sum_exp = input(floats(statistics[2])),
               g = input(grad_log_prob), h = input(grad_entropy);
    kernels::cuda::log_prob_backward(
        {element_of<T>, rows, vocab, z.data(), at.data(), inverse(), log_sum_exp.data(),
         with_entropy ? entropy.data() : nullptr, g.data(), with_entropy ? h.data() : nullptr},
        nullptr);
    REQUIRE(z.is_intact());
    Numbers gradient;
    for (int64_t i = 0; i < rows; ++i) {
      const T* row = reinterpret_cast<const T*>(z.data() + i * vocab);
      for (int64_t j = 0; j < vocab; ++j) gradient.push_back(widened(row[j]));
    }
    return {gradient};
  }
};

template <typename T>
void check_backward(const Case& c, const std::vector<Numbers>& statistics) {
  for (const bool with_entropy : {false, true}) {
    const Numbers actual = prove([&] { return c.run_backward<T>(statistics, with_entropy); })[0];
    CHECK(error(actual, c.backward(statistics, with_entropy)) < allowed<T>(1e-5));
  }
}

void check(const Case& c) {
  CAPTURE(c.rows);
  CAPTURE(c.vocab);
  const auto expected = c.forward();
  const auto actual = prove([&] { return c.run_forward(true); });
  for (size_t i = 0; i < 3; ++i) CHECK(error(actual[i], expected[i]) < 3e-6);
  CHECK(prove([&] { return c.run_forward(false); })[0] == actual[0]);
  check_backward<float>(c, expected);
  check_backward<__nv_bfloat16>(c, expected);
}

}  // namespace

TEST_CASE("cuda log_prob: statistics and gradients") {
  for (const double temperature : {1.0, 0.6}) {
    check({0, 7, temperature});
    check({3, 1, temperature});
    check({5, 259, temperature});
    check({2, 4999, temperature});
  }
}

TEST_CASE("cuda log_prob: logits of minus infinity, and large ones") {
  Case c(3, 300, 1.0);
  for (int64_t j = 0; j < 300; ++j) {
    if (j % 3 != 0 && j != c.targets[0]) c.logits[j] = -INFINITY;
    c.logits[300 + j] += 60.0f;
  }
  check(c);
}

TEST_CASE("cuda log_prob: each barrier is needed") {
  const Case c(2, 4999, 1.0);
  prove_barriers("log_prob.cu", {[&] { return c.run_backward<__nv_bfloat16>(c.forward(), true); }});
}
