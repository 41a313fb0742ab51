// Attention of one new token a slot over the block cache, split over the length (as Flash-Decoding, Dao et
// al. 2023: chunks of a slot's cache are attended to on their own and combined by their softmax statistics).
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"

namespace spa::kernels::cuda {
namespace {

constexpr int warps = 4;
constexpr int most_queries = 8;  // query heads that share a load
constexpr unsigned all_lanes = 0xffffffffu;
constexpr int tokens = static_cast<int>(kv_block_tokens);
static_assert(tokens == warp_threads, "a lane has one token of a block");

/// Statistics of a softmax in powers of two: the largest score, and the sum of 2^(score - largest).
struct Statistics {
  float largest = Maximum::neutral;
  float sum = 0;
};

/// Where a block of threads is at work.
struct Place {
  int64_t slot, kv_head, first_head, start;
  int64_t begin, end;  // blocks of the cache
  int heads;           // queries that count, at most the kernel's
};

template <typename T>
struct Cache {
  T* data;
  int64_t block_stride, half;  // elements between blocks, and of a block's keys
  int64_t part;                // elements of one KV head's keys or values in a block

  __device__ T* keys(int64_t block, int64_t kv_head) const {
    return data + block * block_stride + kv_head * part;
  }
  __device__ T* values(int64_t block, int64_t kv_head) const { return keys(block, kv_head) + half; }
};

/// Adds v [n] up over the n lanes whose numbers differ in bits `stride`, 2 * stride, ...; lane i of them
/// receives sum i, in v[0].
template <int n>
__device__ void reduce_scatter(float (&v)[n], int number, int stride) {
#pragma unroll
  for (int half = n / 2; half >= 1; half /= 2) {
    const bool upper = (number & half) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float sent = upper ? v[i] : v[i + half];
      const float kept = upper ? v[i + half] : v[i];
      v[i] = kept + __shfl_xor_sync(all_lanes, sent, half * stride);
    }
  }
}

template <typename Combine>
__device__ float warp_reduce(float value, Combine combine) {
#pragma unroll
  for (int offset = warp_threads / 2; offset > 0; offset /= 2)
    value = combine(value, __shfl_xor_sync(all_lanes, value, offset));
  return value;
}

/// Scores of a block's tokens, one of them a lane: q [queries, head_dim] in shared memory. Keys lie by
/// dimension, so a load takes some tokens of one dimension.
template <typename T, int queries>
__device__ void score_block(const float* q, const T* keys, int head_dim, float (&scores)[queries]) {
  constexpr int width = Pack<T>::size, loads = tokens / width;
  const int lane = static_cast<int>(threadIdx.x) % warp_threads, row = lane / loads;
  float sums[queries][width] = {};
#pragma unroll 4
  for (int d = row; d < head_dim; d += width) {
    const Pack<T> key = load_pack(keys + d * tokens + lane % loads * width);
#pragma unroll
    for (int g = 0; g < queries; ++g) {
      const float query = q[g * head_dim + d];
#pragma unroll
      for (int i = 0; i < width; ++i) sums[g][i] += query * widen(key.element[i]);
    }
  }
#pragma unroll
  for (int g = 0; g < queries; ++g) {
    reduce_scatter(sums[g], row, loads);
    scores[g] = sums[g][0];
  }
}

/// The token of a block whose scores score_block() leaves in this lane.
template <typename T>
__device__ int token_of_lane() {
  constexpr int width = Pack<T>::size, loads = tokens / width;
  const int lane = static_cast<int>(threadIdx.x) % warp_threads;
  return lane % loads * width + lane / loads;
}

/// What a warp has summed up of the values: packs `first`, `first` + 32, ... of a row, of every `step`-th
/// token from `offset` on.
template <typename T, int queries, int packs>
struct Mix {
  int first, step, offset, row_packs;
  float sums[queries][packs][Pack<T>::size] = {};

  __device__ explicit Mix(int head_dim) : row_packs(head_dim / Pack<T>::size) {
    const int lane = static_cast<int>(threadIdx.x) % warp_threads;
    step = row_packs < warp_threads ? warp_threads / row_packs : 1;
    offset = row_packs < warp_threads ? lane / row_packs : 0;
    first = row_packs < warp_threads ? lane % row_packs : lane;
  }

  __device__ void scale(int g, float factor) {
#pragma unroll
    for (int p = 0; p < packs; ++p) {
#pragma unroll
      for (int i = 0; i < Pack<T>::size; ++i) sums[g][p][i] *= factor;
    }
  }

  /// weights [queries, tokens] in shared memory.
  __device__ void add(const float* weights, const T* values, int count) {
    if (offset >= step) return;
#pragma unroll 4
    for (int t = offset; t < count; t += step) {
#pragma unroll
      for (int p = 0; p < packs; ++p) {
        const int at = first + p * warp_threads;
        if (at >= row_packs) continue;
        const Pack<T> value = load_pack(values + (t * row_packs + at) * Pack<T>::size);
#pragma unroll
        for (int g = 0; g < queries; ++g) {
          const float weight = weights[g * tokens + t];
#pragma unroll
          for (int i = 0; i < Pack<T>::size; ++i) sums[g][p][i] += weight * widen(value.element[i]);
        }
      }
    }
  }

  /// To parts [step, queries, head_dim].
  __device__ void store(float* parts) const {
    if (offset >= step) return;
    for (int g = 0; g < queries; ++g) {
      for (int p = 0; p < packs; ++p) {
        const int at = first + p * warp_threads;
        if (at >= row_packs) continue;
        float* target = parts + ((offset * queries + g) * row_packs + at) * Pack<T>::size;
        for (int i = 0; i < Pack<T>::size; ++i) target[i] = sums[g][p][i];
      }
    }
  }
};

/// Writes the new token's key and value behind the slot's last one. By all threads of a block.
template <typename T>
__device__ void append(const T* row, const DecodeAttention& a, const Cache<T>& cache, const Place& place,
                       int64_t block) {
  const int64_t head_dim = a.shape.head_dim, within = place.start % tokens;
  const T* key = row + (a.shape.heads + place.kv_head) * head_dim;
  const T* value = key + a.shape.kv_heads * head_dim;
  for (int64_t d = threadIdx.x; d < head_dim; d += warps * warp_threads) {
    cache.keys(block, place.kv_head)[d * tokens + within] = key[d];
    cache.values(block, place.kv_head)[within * head_dim + d] = value[d];
  }
}

__device__ Place place_of(const DecodeAttention& a, int queries) {
  Place p;
  const int64_t group = a.shape.heads / a.shape.kv_heads, parts = (group + queries - 1) / queries;
  p.slot = blockIdx.x;
  p.kv_head = blockIdx.y / parts;
  const int64_t first = blockIdx.y % parts * queries;
  p.first_head = p.kv_head * group + first;
  p.heads = static_cast<int>(min(static_cast<int64_t>(queries), group - first));
  p.start = a.starts[p.slot];
  p.begin = blockIdx.z * a.split.chunk;
  p.end = min(p.begin + a.split.chunk, p.start / tokens + 1);
  return p;
}

/// Floats of shared memory: queries, two sets of weights for each warp, and what the warps have summed up.
int64_t shared_floats(int queries, int64_t head_dim, int width) {
  const int64_t row_packs = head_dim / width, step = std::max<int64_t>(warp_threads / row_packs, 1);
  return queries * (head_dim + warps * (2 * tokens + step * head_dim));
}

/// Blocks (slot, KV head and some of its query heads, chunk of the length). Writes the slot's output where it
/// has one chunk, else the chunk's share.
template <typename T, int queries, int packs>
__global__ void __launch_bounds__(warps* warp_threads) decode_kernel(DecodeAttention a) {
  const Place place = place_of(a, queries);
  if (place.begin >= place.end) return;
  const int head_dim = static_cast<int>(a.shape.head_dim),
            warp = static_cast<int>(threadIdx.x) / warp_threads;
  const int64_t part = a.shape.head_dim * tokens;
  const Cache<T> cache{static_cast<T*>(a.pool), a.block_stride, a.shape.kv_heads * part, part};
  const int64_t* table = a.tables + place.slot * a.table_width;
  const T* row =
      static_cast<const T*>(a.qkv) + place.slot * (a.shape.heads + 2 * a.shape.kv_heads) * a.shape.head_dim;

  float* q = dynamic_shared<float>();
  float* weights = q + queries * head_dim + warp * 2 * queries * tokens;
  float* parts = q + queries * head_dim + warps * 2 * queries * tokens;
  constexpr float log2_e = 1.44269504089f;
  for (int i = static_cast<int>(threadIdx.x); i < queries * head_dim; i += warps * warp_threads) {
    const bool counts = i / head_dim < place.heads;
    q[i] = counts ? widen(row[place.first_head * head_dim + i]) * a.shape.scale * log2_e : 0.0f;
  }
  const int64_t last = place.start / tokens;
  if (last < place.end) append(row, a, cache, place, table[last]);
  __syncthreads();

  Statistics own[queries];
  Mix<T, queries, packs> mix(head_dim);
  const int token = token_of_lane<T>();
  for (int64_t b = place.begin + warp; b < place.end; b += warps) {
    const int count = static_cast<int>(min(place.start + 1 - b * tokens, static_cast<int64_t>(tokens)));
    float scores[queries];
    score_block(q, cache.keys(table[b], place.kv_head), head_dim, scores);
    // The other set may still be read; the barrier below comes before this one is written again.
    float* turn = weights + (b - place.begin) / warps % 2 * queries * tokens;
#pragma unroll
    for (int g = 0; g < queries; ++g) {
      // What a block holds after its slot's last token may be anything, NaN too.
      const float score = token < count ? scores[g] : Maximum::neutral;
      const float largest = fmaxf(own[g].largest, warp_reduce(score, Maximum{}));
      const float factor = exp2f(own[g].largest - largest);
      const float weight = token < count ? exp2f(score - largest) : 0.0f;
      own[g] = {largest, own[g].sum * factor + weight};
      mix.scale(g, factor);
      turn[g * tokens + token] = weight;
    }
    __syncwarp();
    mix.add(turn, cache.values(table[b], place.kv_head), count);
  }

  __shared__ Statistics statistics[warps][queries];
#pragma unroll
  for (int g = 0; g < queries; ++g) {
    const float sum = warp_reduce(own[g].sum, Sum{});
    if (threadIdx.x % warp_threads == 0) statistics[warp][g] = {own[g].largest, sum};
  }
  mix.store(parts + warp * mix.step * queries * head_dim);
  __syncthreads();
  const bool whole = a.split.chunk > last;
  for (int i = static_cast<int>(threadIdx.x); i < place.heads * head_dim; i += warps * warp_threads) {
    const int g = i / head_dim;
    Statistics all;
    float mixed = 0;
    for (int w = 0; w < warps; ++w) all.largest = fmaxf(all.largest, statistics[w][g].largest);
    for (int w = 0; w < warps; ++w) {
      const float factor = exp2f(statistics[w][g].largest - all.largest);
      all.sum += statistics[w][g].sum * factor;
      float sum = 0;
      for (int s = 0; s < mix.step; ++s) sum += parts[(w * mix.step + s) * queries * head_dim + i];
      mixed += sum * factor;
    }
    const int64_t head = place.slot * a.shape.heads + place.first_head + g;
    if (whole) {
      static_cast<T*>(a.output)[head * head_dim + i % head_dim] = narrow<T>(mixed / all.sum);
    } else {
      float* share = a.partial + (head * a.split.splits + blockIdx.z) * (head_dim + 2);
      share[2 + i % head_dim] = mixed;
      if (i % head_dim == 0) {
        share[0] = all.largest;
        share[1] = all.sum;
      }
    }
  }
}

/// Blocks (slot, head): adds up the shares of a slot's chunks.
template <typename T>
__global__ void combine_kernel(DecodeAttention a) {
  const int64_t chunks = a.starts[blockIdx.x] / tokens / a.split.chunk + 1;
  if (chunks == 1) return;
  const int64_t head_dim = a.shape.head_dim, head = blockIdx.x * a.shape.heads + blockIdx.y;
  const float* shares = a.partial + head * a.split.splits * (head_dim + 2);
  float largest = Maximum::neutral, total = 0;
  for (int64_t c = 0; c < chunks; ++c) largest = fmaxf(largest, shares[c * (head_dim + 2)]);
  for (int64_t c = 0; c < chunks; ++c)
    total += shares[c * (head_dim + 2) + 1] * exp2f(shares[c * (head_dim + 2)] - largest);
  for (int64_t d = threadIdx.x; d < head_dim; d += blockDim.x) {
    float mixed = 0;
    for (int64_t c = 0; c < chunks; ++c)
      mixed += shares[c * (head_dim + 2) + 2 + d] * exp2f(shares[c * (head_dim + 2)] - largest);
    static_cast<T*>(a.output)[head * head_dim + d] = narrow<T>(mixed / total);
  }
}

template <typename T, int queries, int packs>
void launch_decode(const DecodeAttention& a, Stream stream) {
  const int64_t group = a.shape.heads / a.shape.kv_heads, parts = (group + queries - 1) / queries;
  const dim3 grid(static_cast<unsigned>(a.slots), static_cast<unsigned>(a.shape.kv_heads * parts),
                  static_cast<unsigned>(a.split.splits));
  const int64_t shared = shared_floats(queries, a.shape.head_dim, Pack<T>::size) * 4;
  launch(decode_kernel<T, queries, packs>, {grid, warps * warp_threads, stream, static_cast<size_t>(shared)},
         a);
  if (a.split.splits == 1) return;
  launch(combine_kernel<T>,
         {dim3(static_cast<unsigned>(a.slots), static_cast<unsigned>(a.shape.heads)), 128, stream}, a);
}

/// The smallest kernel that takes the query heads of a KV head, or as many as one can.
template <typename T, int packs>
void choose_queries(const DecodeAttention& a, Stream stream) {
  const int64_t group = a.shape.heads / a.shape.kv_heads;
  const int64_t parts = (group + most_queries - 1) / most_queries, queries = (group + parts - 1) / parts;
  if (queries == 1) return launch_decode<T, 1, packs>(a, stream);
  if (queries == 2) return launch_decode<T, 2, packs>(a, stream);
  if (queries <= 4) return launch_decode<T, 4, packs>(a, stream);
  if (queries <= 6) return launch_decode<T, 6, packs>(a, stream);
  launch_decode<T, 8, packs>(a, stream);
}

}  // namespace

bool decode_attention_takes(Element element, int64_t head_dim) {
  return head_dim % (element == Element::bfloat16 ? 8 : 4) == 0 && head_dim <= 256;
}

void decode_attention(const DecodeAttention& a, Stream stream) {
  if (a.slots == 0) return;
  if (a.element == Element::bfloat16) {
    choose_queries<__nv_bfloat16, 1>(a, stream);
  } else if (a.shape.head_dim <= warp_threads * Pack<float>::size) {
    choose_queries<float, 1>(a, stream);
  } else {
    choose_queries<float, 2>(a, stream);
  }
}

}  // namespace spa::kernels::cuda
