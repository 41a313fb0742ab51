#include "engine/advantage.h"

#include <cmath>

namespace spa {
namespace {

/// Rows of the same kind of recursion: begin and end of row i.
struct Row {
  uint32_t begin, end;
};

Row row_of(std::span<const uint32_t> offsets, size_t i) { return {offsets[i], offsets[i + 1]}; }

void gae_row(const AdvantageInput& input, Row row, double gamma, double lambda,
             const AdvantageOutput& output) {
  const double decay = gamma * lambda;
  double next_value = 0, advantage = 0;
  for (uint32_t t = row.end; t-- > row.begin;) {
    if (!input.mask[t]) {
      output.advantages[t] = 0;
      output.returns[t] = 0;
      continue;
    }
    const double value = input.values[t];
    advantage = input.rewards[t] + gamma * next_value - value + decay * advantage;
    next_value = value;
    output.advantages[t] = static_cast<float>(advantage);
    output.returns[t] = static_cast<float>(advantage + value);
  }
}

/// High level: from the row's last turn end to its first, advantage + value of each, stored in `returns` at
/// the turn ends.
void high_level_returns(const AdvantageInput& input, std::span<const uint32_t> turn_ends, double gamma,
                        double lambda, std::span<float> returns) {
  double next_value = 0, advantage = 0;
  for (size_t i = turn_ends.size(); i-- > 0;) {
    const uint32_t t = turn_ends[i];
    const double value = input.values[t];
    advantage = input.rewards[t] + gamma * next_value - value + gamma * lambda * advantage;
    next_value = value;
    returns[t] = static_cast<float>(advantage + value);
  }
}

/// Low level: `returns` holds the rewards of the turn ends on entry.
void bi_level_row(const AdvantageInput& input, Row row, std::span<const uint32_t> turn_ends, double gamma,
                  double lambda, const AdvantageOutput& output) {
  const double decay = gamma * lambda;
  double next_value = 0, advantage = 0;
  size_t ends = turn_ends.size();
  for (uint32_t t = row.end; t-- > row.begin;) {
    const bool turn_end = ends > 0 && turn_ends[ends - 1] == t;
    if (turn_end) {
      --ends;
      next_value = 0;
      advantage = 0;
    }
    if (!input.mask[t]) {
      output.advantages[t] = 0;
      output.returns[t] = 0;
      continue;
    }
    const double value = input.values[t];
    const double reward = turn_end ? output.returns[t] : input.rewards[t];
    advantage = reward + gamma * next_value - value + decay * advantage;
    next_value = value;
    output.advantages[t] = static_cast<float>(advantage);
    output.returns[t] = static_cast<float>(advantage + value);
  }
}

}  // namespace

void gae(const AdvantageInput& input, double gamma, double lambda, const AdvantageOutput& output) {
  for (size_t i = 0; i + 1 < input.offsets.size(); ++i)
    gae_row(input, row_of(input.offsets, i), gamma, lambda, output);
}

void bi_level_gae(const AdvantageInput& input, std::span<const uint32_t> turn_ends, double gamma,
                  double lambda, double high_level_gamma, const AdvantageOutput& output) {
  size_t first = 0;
  for (size_t i = 0; i + 1 < input.offsets.size(); ++i) {
    const Row row = row_of(input.offsets, i);
    size_t last = first;
    while (last < turn_ends.size() && turn_ends[last] < row.end) ++last;
    const auto ends = turn_ends.subspan(first, last - first);
    high_level_returns(input, ends, high_level_gamma, lambda, output.returns);
    bi_level_row(input, row, ends, gamma, lambda, output);
    first = last;
  }
}

namespace {

/// Sum of f(i) over [0, n) in eight chains, so that additions need not wait for one another.
template <typename F>
double chained_sum(size_t n, const F& f) {
  constexpr size_t chains = 8;
  double part[chains] = {};
  size_t i = 0;
  for (; i + chains <= n; i += chains) {
    for (size_t c = 0; c < chains; ++c) part[c] += f(i + c);
  }
  for (; i < n; ++i) part[0] += f(i);
  double total = 0;
  for (const double p : part) total += p;
  return total;
}

}  // namespace

void whiten(std::span<const float> values, std::span<const uint8_t> mask, std::span<float> output) {
  const size_t n = values.size();
  const double count = chained_sum(n, [&](size_t i) { return mask[i] ? 1.0 : 0.0; });
  const double total =
      chained_sum(n, [&](size_t i) { return mask[i] ? static_cast<double>(values[i]) : 0.0; });
  const double mean = count > 0 ? total / count : 0.0;
  const double squares = chained_sum(n, [&](size_t i) {
    const double centred = mask[i] ? values[i] - mean : 0.0;
    return centred * centred;
  });
  const double scale = count < 2 ? 1.0 : 1.0 / std::sqrt(squares / (count - 1.0) + 1e-8);
  for (size_t i = 0; i < n; ++i) output[i] = mask[i] ? static_cast<float>((values[i] - mean) * scale) : 0.0f;
}

}  // namespace spa
