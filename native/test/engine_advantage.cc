#include <cmath>
#include <random>
#include <vector>

#include "doctest_torch.h"
#include "engine/advantage.h"

using namespace spa;

namespace {

struct Outputs {
  std::vector<float> advantages, returns;
  explicit Outputs(size_t n) : advantages(n, -7.0f), returns(n, -7.0f) {}
  AdvantageOutput view() { return {advantages, returns}; }
};

void check_close(const std::vector<float>& actual, const std::vector<double>& expected) {
  REQUIRE(actual.size() == expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    CAPTURE(i);
    CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-6));
  }
}

}  // namespace

TEST_CASE("gae: skips tokens outside the mask, restarts at each row") {
  const std::vector<float> rewards{9, 1, 9, 2, 9, 5, 9};
  const std::vector<float> values{9, 0.5, 9, 0.25, 9, 1.5, 9};
  const std::vector<uint8_t> mask{0, 1, 0, 1, 0, 1, 0};
  const std::vector<uint32_t> offsets{0, 5, 5, 7};
  Outputs out(7);
  gae({rewards, values, mask, offsets}, 0.9, 0.8, out.view());
  const double last = 2 - 0.25;
  const double first = 1 + 0.9 * 0.25 - 0.5 + 0.9 * 0.8 * last;
  check_close(out.advantages, {0, first, 0, last, 0, 3.5, 0});
  check_close(out.returns, {0, first + 0.5, 0, last + 0.25, 0, 5, 0});
}

TEST_CASE("gae: gamma = lambda = 1 gives the sum of rewards to come minus the value") {
  const std::vector<float> rewards{1, 2, 3}, values{0.5, -1, 2};
  const std::vector<uint8_t> mask{1, 1, 1};
  const std::vector<uint32_t> offsets{0, 3};
  Outputs out(3);
  gae({rewards, values, mask, offsets}, 1, 1, out.view());
  check_close(out.advantages, {5.5, 6, 1});
  check_close(out.returns, {6, 5, 3});
}

TEST_CASE("bi-level gae: turn returns become rewards, zero-reward turns count") {
  // Two turns, [1, 2] and [4, 5]; the first has no reward.
  const std::vector<float> rewards{0, 0, 0, 0, 0, 10};
  const std::vector<float> values{7, 0.5, 1.5, 7, 2.5, 3.5};
  const std::vector<uint8_t> mask{0, 1, 1, 0, 1, 1};
  const std::vector<uint32_t> offsets{0, 6}, ends{2, 5};
  const double gamma = 0.9, lambda = 0.8, high = 0.95;
  Outputs out(6);
  bi_level_gae({rewards, values, mask, offsets}, ends, gamma, lambda, high, out.view());
  const double high_last = 10 - 3.5;
  const double high_first = 0 + high * 3.5 - 1.5 + high * lambda * high_last;
  const double a5 = high_last + 3.5 - 3.5;
  const double a4 = gamma * 3.5 - 2.5 + gamma * lambda * a5;
  const double a2 = high_first + 1.5 - 1.5;
  const double a1 = gamma * 1.5 - 0.5 + gamma * lambda * a2;
  check_close(out.advantages, {0, a1, a2, 0, a4, a5});
  check_close(out.returns, {0, a1 + 0.5, a2 + 1.5, 0, a4 + 2.5, a5 + 3.5});
}

TEST_CASE("bi-level gae: one turn that ends at the last token is gae") {
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> rewards(20), values(20);
  for (float& v : values) v = normal(generator);
  rewards[9] = 1.5;
  rewards[19] = -2;
  const std::vector<uint8_t> mask(20, 1);
  const std::vector<uint32_t> offsets{0, 10, 20}, ends{9, 19};
  Outputs one(20), two(20);
  gae({rewards, values, mask, offsets}, 0.9, 0.95, one.view());
  bi_level_gae({rewards, values, mask, offsets}, ends, 0.9, 0.95, 0.5, two.view());
  for (size_t i = 0; i < 20; ++i)
    CHECK(two.advantages[i] == doctest::Approx(one.advantages[i]).epsilon(1e-5));
}

TEST_CASE("bi-level gae: rows without turns or without mask") {
  const std::vector<float> rewards{1, 2, 3}, values{0, 0, 0};
  const std::vector<uint8_t> mask{1, 0, 0};
  const std::vector<uint32_t> offsets{0, 1, 3};
  Outputs out(3);
  bi_level_gae({rewards, values, mask, offsets}, {}, 0.9, 0.95, 0.5, out.view());
  check_close(out.advantages, {1, 0, 0});
}

TEST_CASE("whiten: over the mask, zero outside, Bessel's correction") {
  const std::vector<float> values{1, 100, 2, 4, 100};
  const std::vector<uint8_t> mask{1, 0, 1, 1, 0};
  std::vector<float> out(5, -7.0f);
  whiten(values, mask, out);
  const double mean = 7.0 / 3,
               variance = (std::pow(1 - mean, 2) + std::pow(2 - mean, 2) + std::pow(4 - mean, 2)) / 2;
  const double scale = 1 / std::sqrt(variance + 1e-8);
  check_close(out, {(1 - mean) * scale, 0, (2 - mean) * scale, (4 - mean) * scale, 0});
}

TEST_CASE("whiten: one masked token is only centred, none gives zeros, equal values give zeros") {
  std::vector<float> out(3, -7.0f);
  whiten(std::vector<float>{5, 6, 7}, std::vector<uint8_t>{0, 1, 0}, out);
  check_close(out, {0, 0, 0});
  whiten(std::vector<float>{5, 6, 7}, std::vector<uint8_t>{0, 0, 0}, out);
  check_close(out, {0, 0, 0});
  whiten(std::vector<float>{4, 4, 4}, std::vector<uint8_t>{1, 1, 1}, out);
  check_close(out, {0, 0, 0});
}
