#include <algorithm>
#include <numeric>
#include <set>

#include "kernel_test.h"
#include "kernels/philox.h"

using namespace spa;
using namespace spa::test;

namespace {

struct Settings {
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 1.0;
};

constexpr uint64_t seed = 11;

std::vector<Numbers> draw(const std::vector<float>& logits, int64_t rows, const Settings& settings) {
  const int64_t vocab = static_cast<int64_t>(logits.size()) / std::max<int64_t>(rows, 1);
  std::vector<int64_t> stream_numbers, position_numbers;
  for (int64_t i = 0; i < rows; ++i) {
    stream_numbers.push_back(9 + i % 3);
    position_numbers.push_back(i);
  }
  const auto z = input(logits);
  const auto streams = input(stream_numbers), positions = input(position_numbers);
  const DeviceArray<int32_t> tokens(rows);
  const DeviceArray<float> log_probs(rows);
  kernels::cuda::sample(
      {kernels::cuda::Element::float32, rows, vocab, z.data(), static_cast<float>(settings.temperature),
       settings.top_k, static_cast<float>(settings.top_p), seed, streams.data(), positions.data(),
       tokens.data(), log_probs.data()},
      nullptr);
  return {written(tokens), written(log_probs)};
}

/// The id that inverting the cumulative distribution in float64 gives, and its log-prob. `margin` is how near
/// the draw came to another id.
struct Expected {
  int64_t token;
  double log_prob, margin;
};

Expected reference(const float* z, int64_t vocab, int64_t row, const Settings& settings) {
  const double factor = settings.temperature == 0 ? 1.0 : 1.0 / settings.temperature;
  std::vector<int64_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return z[a] > z[b]; });
  const double top = z[order[0]];
  const auto weight = [&](int64_t id) { return std::exp((z[id] - top) * factor); };
  double total = 0;
  for (int64_t j = 0; j < vocab; ++j) total += weight(j);
  const auto log_prob = [&](int64_t id) { return (z[id] - top) * factor - std::log(total); };
  if (settings.temperature == 0) return {order[0], log_prob(order[0]), INFINITY};

  double margin = INFINITY, available = 0, mass = 0;
  if (settings.top_k > 0 && settings.top_k < vocab) order.resize(settings.top_k);
  for (const int64_t id : order) available += weight(id);
  size_t kept = 0;
  while (kept < order.size() && (kept == 0 || settings.top_p >= 1 || mass < settings.top_p * available)) {
    mass += weight(order[kept++]);
    if (settings.top_p < 1) margin = std::min(margin, std::abs(mass / available - settings.top_p));
  }
  order.resize(kept);
  std::sort(order.begin(), order.end());
  const double u =
      kernels::philox_uniform(seed, static_cast<uint64_t>(9 + row % 3), static_cast<uint64_t>(row));
  int64_t token = -1;
  double before = 0;
  for (const int64_t id : order) {
    before += weight(id);
    margin = std::min(margin, std::abs(before / mass - u));
    if (token < 0 && weight(id) > 0 && before > u * mass) token = id;
  }
  return {token, log_prob(token), margin};
}

void check(int64_t rows, int64_t vocab, const Settings& settings) {
  CAPTURE(vocab);
  CAPTURE(settings.temperature);
  CAPTURE(settings.top_k);
  CAPTURE(settings.top_p);
  const auto logits = normal<float>(rows * vocab, 3, 4.0);
  const auto drawn = prove([&] { return draw(logits, rows, settings); });
  for (int64_t i = 0; i < rows; ++i) {
    CAPTURE(i);
    const Expected expected = reference(logits.data() + i * vocab, vocab, i, settings);
    if (expected.margin > 1e-6) {
      CHECK(drawn[0][i] == expected.token);
      CHECK(std::abs(drawn[1][i] - expected.log_prob) < 2e-6 * std::max(1.0, std::abs(expected.log_prob)));
    }
  }
}

}  // namespace

TEST_CASE("cuda sampling: ids and log-probs of the inverted distribution") {
  for (const double temperature : {1.0, 0.7, 0.0}) {
    check(0, 5, {temperature});
    check(3, 1, {temperature});
    check(9, 31, {temperature});
    check(7, 257, {temperature});
    check(2, 3001, {temperature});
  }
}

TEST_CASE("cuda sampling: top-k, top-p, and top-p of what top-k left") {
  for (const Settings& settings : {Settings{1.0, 1, 1.0},
                                   {1.0, 5, 1.0},
                                   {0.8, 300, 1.0},
                                   {1.0, 0, 0.9},
                                   {1.3, 0, 0.05},
                                   {0.9, 40, 0.6},
                                   {0.0, 3, 0.5}}) {
    check(11, 67, settings);
    check(3, 1031, settings);
  }
}

TEST_CASE("cuda sampling: of equal logits the lowest ids stay, zeros of both signs and minus infinity too") {
  std::vector<float> logits(600, -INFINITY);
  for (const int id : {3, 4, 250, 251, 599}) logits[id] = id % 2 == 0 ? 0.0f : -0.0f;
  std::vector<float> rows;
  for (int i = 0; i < 60; ++i) rows.insert(rows.end(), logits.begin(), logits.end());
  const auto ids_of = [&](const Settings& settings) {
    const Numbers tokens = prove([&] { return draw(rows, 60, settings); })[0];
    return std::set<double>(tokens.begin(), tokens.end());
  };
  CHECK(ids_of({1.0, 0, 1.0}) == std::set<double>{3, 4, 250, 251, 599});
  CHECK(ids_of({1.0, 3, 1.0}) == std::set<double>{3, 4, 250});
  CHECK(ids_of({1.0, 0, 0.3}) == std::set<double>{3, 4});
  CHECK(ids_of({0.0, 0, 1.0}) == std::set<double>{3});
}

TEST_CASE("cuda sampling: each barrier is needed") {
  const auto logits = normal<float>(4 * 700, 5);
  std::vector<float> ties = logits;  // of several threads, at the edge of what is kept
  for (float& z : ties) z = std::round(z);
  prove_barriers("sampling.cu",
                 {[&] { return draw(ties, 4, {1.0, 200, 0.7}); }, [&] { return draw(logits, 4, {1.0}); }});
}
