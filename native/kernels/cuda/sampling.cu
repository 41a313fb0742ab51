#include <cstdint>
#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/philox.h"

namespace spa::kernels::cuda {
namespace {

/// Scores as integers of the same order; the two zeros are equal.
__device__ inline uint32_t key_of(float score) {
  const uint32_t bits = __float_as_uint(score + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/// Of the ids in the order of their scores (the largest first, of equal ones the lowest id) those that stay.
struct Kept {
  uint32_t key = 0;          // of the least score
  int64_t last = INT64_MAX;  // the highest id with that score

  __device__ bool has(uint32_t other, int64_t id) const {
    return other > key || (other == key && id <= last);
  }
};

/// A row of logits, and its softmax.
template <typename T>
struct Row {
  const T* logits;
  int64_t vocab;
  float top, factor;

  __device__ float score(int64_t id) const { return widen(logits[id]); }
  __device__ float weight(int64_t id) const { return expf((score(id) - top) * factor); }
  /// The ids that a thread has for itself, [begin, end): in runs, so that threads come in the order of ids.
  __device__ int64_t begin() const {
    return min((vocab + block_threads - 1) / block_threads * threadIdx.x, vocab);
  }
  __device__ int64_t end() const {
    return min((vocab + block_threads - 1) / block_threads * (threadIdx.x + 1), vocab);
  }
};

/// How much an id counts: one, or its weight as an integer, whose sums do not depend on the order.
struct Count {
  template <typename T>
  __device__ uint64_t operator()(const Row<T>&, int64_t) const {
    return 1;
  }
};
struct Mass {
  template <typename T>
  __device__ uint64_t operator()(const Row<T>& row, int64_t id) const {
    return static_cast<uint64_t>(row.weight(id) * 1099511627776.0f);  // 2^40; sums stay below 2^64
  }
};

/// The least prefix of the kept ids, in the order of their scores, that counts `share` of all of them, or
/// `wanted` where share is 0; at least one id. By all threads of a block, eight bits of the keys at a time.
template <typename T, typename Measure>
__device__ Kept prefix_of(const Row<T>& row, const Kept& kept, Measure measure, double share,
                          uint64_t wanted) {
  constexpr int bins = 256;
  __shared__ unsigned long long sums[bins];
  __shared__ uint64_t left;
  __shared__ uint32_t prefix;
  if (threadIdx.x == 0) prefix = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = static_cast<int>(threadIdx.x); i < bins; i += block_threads) sums[i] = 0;
    __syncthreads();
    const uint32_t known = shift == 24 ? 0 : prefix >> (shift + 8);
    for (int64_t id = threadIdx.x; id < row.vocab; id += block_threads) {
      const uint32_t key = key_of(row.score(id));
      if (shift < 24 && key >> (shift + 8) != known) continue;
      if (kept.has(key, id)) {
        atomicAdd(&sums[key >> shift & (bins - 1)], static_cast<unsigned long long>(measure(row, id)));
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      if (shift == 24) {
        uint64_t all = 0;
        for (int i = 0; i < bins; ++i) all += sums[i];
        left = share > 0 ? static_cast<uint64_t>(static_cast<double>(all) * share) : wanted;
        left = max(min(left, all), uint64_t{1});
      }
      int bin = bins - 1;
      while (bin > 0 && sums[bin] < left) left -= sums[bin--];
      prefix |= static_cast<uint32_t>(bin) << shift;
    }
    __syncthreads();
  }
  // Of the ids with the least score so many as are needed, the lowest first.
  __shared__ uint64_t runs[block_threads];
  __shared__ int64_t last;
  const uint32_t key = prefix;
  uint64_t own = 0;
  for (int64_t id = row.begin(); id < row.end(); ++id) {
    if (key_of(row.score(id)) == key && kept.has(key, id)) own += measure(row, id);
  }
  runs[threadIdx.x] = own;
  __syncthreads();
  uint64_t before = 0;
  for (unsigned i = 0; i < threadIdx.x; ++i) before += runs[i];
  if (before < left && before + own >= left) {
    for (int64_t id = row.begin(); id < row.end() && before < left; ++id) {
      if (key_of(row.score(id)) != key || !kept.has(key, id)) continue;
      before += measure(row, id);
      last = id;
    }
  }
  __syncthreads();
  return {key, last};
}

/// The id at which the running sum of the kept weights passes `uniform` of their total, by the thread in
/// whose run it is.
template <typename T>
__device__ void invert(const Row<T>& row, const Kept& kept, float uniform, int* chosen) {
  __shared__ float sums[block_threads];
  const auto weight = [&](int64_t id) { return kept.has(key_of(row.score(id)), id) ? row.weight(id) : 0.0f; };
  float own = 0;
  for (int64_t id = row.begin(); id < row.end(); ++id) own += weight(id);
  sums[threadIdx.x] = own;
  __syncthreads();
  float total = 0, before = 0;
  int last = 0;
  for (int i = 0; i < block_threads; ++i) total += sums[i];
  const float threshold = uniform * total;
  for (int i = 0; i < block_threads; ++i) {
    if (sums[i] > 0) last = i;
    if (before + sums[i] > threshold) break;
    before += sums[i];
  }
  if (static_cast<int>(threadIdx.x) != last) return;
  for (int64_t id = row.begin(); id < row.end(); ++id) {
    const float w = weight(id);
    if (w <= 0) continue;
    *chosen = static_cast<int>(id);
    before += w;
    if (before > threshold) break;
  }
}

/// One block a row.
template <typename T>
__global__ void sample_kernel(Sample s) {
  const int64_t number = blockIdx.x;
  Row<T> row{static_cast<const T*>(s.logits) + number * s.vocab, s.vocab, Maximum::neutral,
             s.temperature == 0 ? 1.0f : 1.0f / s.temperature};
  float top = Maximum::neutral;
  for (int64_t id = threadIdx.x; id < s.vocab; id += block_threads) top = fmaxf(top, row.score(id));
  row.top = block_reduce(top, Maximum{});
  float total = 0;
  for (int64_t id = threadIdx.x; id < s.vocab; id += block_threads) total += row.weight(id);
  total = block_reduce(total, Sum{});
  Kept kept;
  const bool is_greedy = s.temperature == 0;
  if (is_greedy || (s.top_k > 0 && s.top_k < s.vocab))
    kept = prefix_of(row, kept, Count{}, 0, static_cast<uint64_t>(is_greedy ? 1 : s.top_k));
  if (!is_greedy && s.top_p < 1) kept = prefix_of(row, kept, Mass{}, static_cast<double>(s.top_p), 0);
  __shared__ int chosen;
  const float uniform = is_greedy ? 0.0f
                                  : philox_uniform(s.seed, static_cast<uint64_t>(s.streams[number]),
                                                   static_cast<uint64_t>(s.positions[number]));
  invert(row, kept, uniform, &chosen);
  __syncthreads();
  if (threadIdx.x == 0) {
    s.tokens[number] = chosen;
    s.log_probs[number] = (row.score(chosen) - row.top) * row.factor - logf(total);
  }
}

}  // namespace

void sample(const Sample& s, Stream stream) {
  if (s.rows == 0) return;
  with_element(s.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch(sample_kernel<T>, {static_cast<unsigned>(s.rows), block_threads, stream}, s);
  });
}

}  // namespace spa::kernels::cuda
