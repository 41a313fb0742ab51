// Sampling of next tokens by inversion of the cumulative distribution.
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/scratch.h"
#include "kernels/philox.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

constexpr float lowest = -3.402823466e+38f;

struct Candidate {
  float weight;
  int32_t id;
};

/// The first id with the largest logit.
int32_t greedy(const float* z, int64_t vocab) {
  int32_t best = 0;
  for (int64_t j = 1; j < vocab; ++j) {
    if (z[j] > z[best]) best = static_cast<int32_t>(j);
  }
  return best;
}

float maximum_of(const float* z, int64_t vocab) {
  const int64_t whole = vocab - vocab % lanes;
  Vec top = broadcast(lowest);
  for (int64_t j = 0; j < whole; j += lanes) top = maximum(load(z + j), top);
  float result = largest(top);
  for (int64_t j = whole; j < vocab; ++j) result = z[j] > result ? z[j] : result;
  return result;
}

/// weights[j] = exp((z[j] - top) * factor), zero up to the next multiple of the vector; returns their sum.
float exponentials(const float* z, float top, float factor, float* weights, int64_t vocab) {
  const int64_t whole = vocab - vocab % lanes;
  const int64_t tail = vocab - whole;
  Vec total{};
  for (int64_t j = 0; j < whole; j += lanes) {
    const Vec e = exp((load(z + j) - top) * factor);
    store(weights + j, e);
    total += e;
  }
  if (tail) {
    const Vec e = lane_index() < static_cast<int32_t>(tail)
                      ? exp((load_partial(z + whole, tail) - top) * factor)
                      : Vec{};
    store(weights + whole, e);
    total += e;
  }
  return sum(total);
}

/// The first id at which the running sum of the weights passes u times their sum. Whole vectors are skipped
/// by their sums, so that large vocabularies cost one pass.
int32_t invert(const float* weights, float u, int64_t vocab) {
  float total = 0;
  for (int64_t j = 0; j < vocab; j += lanes) total += sum(load(weights + j));
  const float threshold = u * total;
  float before = 0;
  int64_t last = 0;
  for (int64_t j = 0; j < vocab; j += lanes) {
    const float block = sum(load(weights + j));
    if (block > 0) last = j;
    if (before + block > threshold) break;
    before += block;
  }
  int32_t chosen = static_cast<int32_t>(last);
  for (int64_t j = last; j < last + lanes && j < vocab; ++j) {
    if (weights[j] <= 0) continue;
    chosen = static_cast<int32_t>(j);
    before += weights[j];
    if (before > threshold) break;
  }
  return chosen;
}

/// Heavier first, then the lower id.
SPA_INLINE bool ahead(const Candidate& a, const Candidate& b) {
  return a.weight > b.weight || (a.weight == b.weight && a.id < b.id);
}

void sift_down(Candidate* heap, int64_t i, int64_t n) {
  const Candidate moving = heap[i];
  for (int64_t child = 2 * i + 1; child < n; child = 2 * i + 1) {
    if (child + 1 < n && ahead(heap[child + 1], heap[child])) ++child;
    if (!ahead(heap[child], moving)) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = moving;
}

/// Moves the heaviest of heap[0 .. n) to heap[n - 1].
SPA_INLINE void pop(Candidate* heap, int64_t n) {
  const Candidate taken = heap[0];
  heap[0] = heap[n - 1];
  sift_down(heap, 0, n - 1);
  heap[n - 1] = taken;
}

/// Zeroes the weights that top-k and then top-p (of what top-k left) leave out. A heap yields candidates from
/// the heaviest on, and only as many as are needed. At least one stays.
void truncate(float* weights, float total, int64_t top_k, float top_p, int64_t vocab) {
  auto* heap = reinterpret_cast<Candidate*>(scratch(Scratch::queries, 2 * vocab));
  for (int64_t j = 0; j < vocab; ++j) heap[j] = {weights[j], static_cast<int32_t>(j)};
  for (int64_t i = vocab / 2 - 1; i >= 0; --i) sift_down(heap, i, vocab);
  const bool by_count = top_k > 0 && top_k < vocab;
  const bool by_mass = top_p < 1;
  const int64_t most = by_count ? top_k : vocab;
  const float needed = by_mass && !by_count ? top_p * total : 2 * total;
  int64_t kept = 0;
  float mass = 0;
  while (kept < most && (kept == 0 || mass < needed)) {
    pop(heap, vocab - kept);
    mass += heap[vocab - 1 - kept].weight;
    ++kept;
  }
  if (by_count && by_mass) {
    const float share = top_p * mass;
    const int64_t available = kept;
    for (kept = 0, mass = 0; kept < available && (kept == 0 || mass < share); ++kept)
      mass += heap[vocab - 1 - kept].weight;
  }
  for (int64_t j = 0; j < vocab; ++j) weights[j] = 0;
  for (int64_t i = 0; i < kept; ++i) weights[heap[vocab - 1 - i].id] = heap[vocab - 1 - i].weight;
}

}  // namespace

void sample(const float* logits, int64_t ld, const SamplingScalars& options, const uint64_t* streams,
            const int64_t* positions, int32_t* token, float* log_prob, int64_t rows, int64_t vocab) {
  float* weights = scratch(Scratch::scores, vocab + lanes);
  const bool is_greedy = options.temperature == 0;
  const float factor = is_greedy ? 1.0f : 1.0f / options.temperature;
  const bool truncated = (options.top_k > 0 && options.top_k < vocab) || options.top_p < 1;
  for (int64_t i = 0; i < rows; ++i) {
    const float* z = logits + i * ld;
    const float top = maximum_of(z, vocab);
    const float total = exponentials(z, top, factor, weights, vocab);
    if (is_greedy) {
      token[i] = greedy(z, vocab);
    } else {
      if (truncated) truncate(weights, total, options.top_k, options.top_p, vocab);
      token[i] = invert(weights,
                        philox_uniform(options.seed, streams[i], static_cast<uint64_t>(positions[i])), vocab);
    }
    log_prob[i] = (z[token[i]] - top) * factor - __builtin_logf(total);
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
