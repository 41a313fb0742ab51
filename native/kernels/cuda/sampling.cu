#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/philox.h"

namespace spa::kernels::cuda {
namespace {

/// The lowest of the ids at which a row has its maximum, by all threads of a block.
template <typename T>
__device__ int64_t first_maximum(const T* row, int64_t vocab, float top) {
  __shared__ int lowest;
  if (threadIdx.x == 0) lowest = static_cast<int>(vocab);
  __syncthreads();
  for (int64_t j = threadIdx.x; j < vocab; j += block_threads) {
    if (widen(row[j]) == top) {
      atomicMin(&lowest, static_cast<int>(j));
      break;
    }
  }
  __syncthreads();
  return lowest;
}

/// Each thread owns a run of ids. The thread in whose run the running sum passes `uniform` of the total finds
/// the id in it.
template <typename T>
__device__ void invert(const T* row, int64_t vocab, float top, float factor, float uniform, int* chosen) {
  __shared__ float sums[block_threads];
  const int64_t run = (vocab + block_threads - 1) / block_threads;
  const int64_t begin = min(run * threadIdx.x, vocab), end = min(begin + run, vocab);
  float own = 0;
  for (int64_t j = begin; j < end; ++j) own += expf((widen(row[j]) - top) * factor);
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
  for (int64_t j = begin; j < end; ++j) {
    const float weight = expf((widen(row[j]) - top) * factor);
    if (weight <= 0) continue;
    *chosen = static_cast<int>(j);
    before += weight;
    if (before > threshold) break;
  }
}

/// One block a row.
template <typename T>
__global__ void sample_kernel(const T* logits, int64_t vocab, float temperature, uint64_t seed,
                              const int64_t* streams, const int64_t* positions, int* tokens,
                              float* log_probs) {
  const int64_t row = blockIdx.x;
  const T* z = logits + row * vocab;
  float top = Maximum::neutral;
  for (int64_t j = threadIdx.x; j < vocab; j += block_threads) top = fmaxf(top, widen(z[j]));
  top = block_reduce(top, Maximum{});
  const float factor = temperature == 0 ? 1.0f : 1.0f / temperature;
  float total = 0;
  for (int64_t j = threadIdx.x; j < vocab; j += block_threads) total += expf((widen(z[j]) - top) * factor);
  total = block_reduce(total, Sum{});
  __shared__ int chosen;
  if (temperature == 0) {
    const int64_t best = first_maximum(z, vocab, top);
    if (threadIdx.x == 0) chosen = static_cast<int>(best);
  } else {
    const float uniform =
        philox_uniform(seed, static_cast<uint64_t>(streams[row]), static_cast<uint64_t>(positions[row]));
    invert(z, vocab, top, factor, uniform, &chosen);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    tokens[row] = chosen;
    log_probs[row] = (widen(z[chosen]) - top) * factor - logf(total);
  }
}

}  // namespace

void sample(const Sample& s, Stream stream) {
  if (s.rows == 0) return;
  with_element(s.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch(sample_kernel<T>, {static_cast<unsigned>(s.rows), block_threads, stream},
           static_cast<const T*>(s.logits), s.vocab, s.temperature, s.seed, s.streams, s.positions, s.tokens,
           s.log_probs);
  });
}

}  // namespace spa::kernels::cuda
