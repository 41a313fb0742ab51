#include "kernel_test.h"
#include "kernels/philox.h"

using namespace spa;
using namespace spa::test;

namespace {

struct Settings {
  double temperature = 1.0;
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
      {kernels::cuda::Element::float32, rows, vocab, z.data(), static_cast<float>(settings.temperature), seed,
       streams.data(), positions.data(), tokens.data(), log_probs.data()},
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
  double top = -INFINITY, total = 0;
  for (int64_t j = 0; j < vocab; ++j) top = std::max(top, double{z[j]});
  for (int64_t j = 0; j < vocab; ++j) total += std::exp((z[j] - top) * factor);
  const double u =
      kernels::philox_uniform(seed, static_cast<uint64_t>(9 + row % 3), static_cast<uint64_t>(row));
  Expected found{-1, 0, INFINITY};
  double before = 0;
  for (int64_t j = 0; j < vocab; ++j) {
    if (settings.temperature == 0) {
      if (found.token < 0 && z[j] == top) found.token = j;
      continue;
    }
    const double weight = std::exp((z[j] - top) * factor);
    found.margin = std::min(found.margin, std::abs(before + weight - u * total) / total);
    if (found.token < 0 && weight > 0 && before + weight > u * total) found.token = j;
    before += weight;
  }
  found.log_prob = (z[found.token] - top) * factor - std::log(total);
  return found;
}

void check(int64_t rows, int64_t vocab, const Settings& settings) {
  CAPTURE(vocab);
  CAPTURE(settings.temperature);
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

TEST_CASE("cuda sampling: each barrier is needed") {
  const auto logits = normal<float>(4 * 700, 5);
  prove_barriers("sampling.cu",
                 {[&] { return draw(logits, 4, {1.0}); }, [&] { return draw(logits, 4, {0.0}); }});
}
