// Attention of a slot's new tokens over its blocks of the KV cache.
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/scratch.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

constexpr int64_t block = kv_block_tokens;
constexpr int block_vectors = block / lanes;
// Queries x heads of a prefill tile; more where each tile has to widen the cache first.
constexpr int64_t rows_at_once = 16, rows_at_once_bf16 = 256;
constexpr float lowest = -3.402823466e+38f;

/// The blocks of one slot. A part is one KV head's keys [head_dim, block] or values [block, head_dim].
struct Slot {
  const KvView& cache;
  const int32_t* table;
  const HeadShape& shape;
  float* spare;  // for a part in float32

  int64_t part_size() const { return shape.head_dim * block; }
};

/// Part `part` of block b as float32: keys of head h are part h, its values part kv_heads + h.
SPA_INLINE const float* read_part(const Slot& slot, int64_t b, int64_t part) {
  const int64_t at = slot.table[b] * slot.cache.block_stride + part * slot.part_size();
  if (!slot.cache.bfloat16) return static_cast<const float*>(slot.cache.data) + at;
  to_float(static_cast<const Bf16*>(slot.cache.data) + at, slot.spare, slot.part_size());
  return slot.spare;
}

SPA_INLINE const float* keys_of(const Slot& slot, int64_t b, int64_t kv_head) {
  return read_part(slot, b, kv_head);
}
SPA_INLINE const float* values_of(const Slot& slot, int64_t b, int64_t kv_head) {
  return read_part(slot, b, slot.shape.kv_heads + kv_head);
}

/// Asks for the start of a block's keys (first part 0) or values (first part kv_heads) before it is needed:
/// blocks lie anywhere, so the hardware does not see them coming.
SPA_INLINE void prefetch(const Slot& slot, int64_t b, int64_t first_part) {
  constexpr int64_t most = 1024, line = 64;
  const int64_t width = slot.cache.bfloat16 ? 2 : 4;
  const int64_t bytes = slot.shape.kv_heads * slot.part_size() * width;
  const char* start = static_cast<const char*>(slot.cache.data) +
                      (slot.table[b] * slot.cache.block_stride + first_part * slot.part_size()) * width;
  for (int64_t i = 0; i < bytes && i < most; i += line) __builtin_prefetch(start + i, 0, 3);
}

/// Scores (in powers of two) become weights 2^(s - max); those from n on become zero up to the end of the
/// block. Returns their sum.
SPA_INLINE float softmax_row(float* scores, int64_t n) {
  const int64_t end = (n + block - 1) / block * block;
  for (int64_t j = n; j < end; ++j) scores[j] = lowest;
  Vec top = load(scores);
  for (int64_t j = lanes; j < end; j += lanes) top = maximum(load(scores + j), top);
  const Vec offset = broadcast(largest(top));
  Vec total{};
  for (int64_t j = 0; j < end; j += lanes) {
    const Vec e = exp2(load(scores + j) - offset);
    store(scores + j, e);
    total += e;
  }
  return sum(total);
}

/// scores [R rows, ld] of R heads against one block's keys.
template <int R>
SPA_INLINE void score_block(const float* keys, const float* queries, int64_t d, float* scores, int64_t ld) {
  Vec sums[R][block_vectors] = {};
  for (int64_t j = 0; j < d; ++j) {
#pragma GCC unroll 8
    for (int v = 0; v < block_vectors; ++v) {
      const Vec key = load(keys + j * block + v * lanes);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sums[r][v] += queries[r * d + j] * key;
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < block_vectors; ++v) store(scores + r * ld + v * lanes, sums[r][v]);
  }
}

constexpr int chains = 4;  // sums a vector is split into, to hide the latency of the additions

/// sums [head_dim / lanes, R, chains] += weights * values over the first `used` keys of a block. Values
/// behind them are whatever the block held before, perhaps NaN: a zero weight would not hide them.
template <int R>
SPA_INLINE void value_block(const float* values, const float* weights, int64_t ld, int64_t used, int64_t d,
                            float* sums) {
  for (int64_t j = 0; j < d; j += lanes, sums += R * chains * lanes) {
    Vec part[R][chains];
#pragma GCC unroll 16
    for (int i = 0; i < R * chains; ++i) part[i / chains][i % chains] = load(sums + i * lanes);
    int64_t key = 0;
    for (; key + chains <= used; key += chains) {
#pragma GCC unroll 4
      for (int c = 0; c < chains; ++c) {
        const Vec value = load(values + (key + c) * d + j);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) part[r][c] += weights[r * ld + key + c] * value;
      }
    }
    for (; key < used; ++key) {
      const Vec value = load(values + key * d + j);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) part[r][0] += weights[r * ld + key] * value;
    }
#pragma GCC unroll 16
    for (int i = 0; i < R * chains; ++i) store(sums + i * lanes, part[i / chains][i % chains]);
  }
}

/// out [R, head_dim] = factor[r] * the chains added up.
template <int R>
SPA_INLINE void finish_values(const float* sums, const float* factor, int64_t d, float* out) {
  for (int64_t j = 0; j < d; j += lanes) {
    for (int r = 0; r < R; ++r, sums += chains * lanes) {
      const Vec total = (load(sums) + load(sums + lanes)) + (load(sums + 2 * lanes) + load(sums + 3 * lanes));
      store(out + r * d + j, total * factor[r]);
    }
  }
}

/// Calls f<R>(first) for the heads of a group in fours and what remains.
template <typename F>
SPA_INLINE void by_four(int64_t group, F f) {
  int64_t first = 0;
  for (; first + 4 <= group; first += 4) f.template operator()<4>(first);
  if (group - first == 3) f.template operator()<3>(first);
  if (group - first == 2) f.template operator()<2>(first);
  if (group - first == 1) f.template operator()<1>(first);
}

/// One token with n keys. Blocks are walked once for the keys and once for the values of all heads, as they
/// lie in memory.
void decode_token(const Slot& slot, const float* q, int64_t n, float* out) {
  const int64_t d = slot.shape.head_dim, heads = slot.shape.heads, kv_heads = slot.shape.kv_heads;
  const int64_t group = heads / kv_heads;
  const int64_t blocks = (n + block - 1) / block;
  const int64_t ld = blocks * block;
  float* scores = scratch(Scratch::scores, heads * ld);
  float* queries = scratch(Scratch::queries, heads * d);
  float* sums = scratch(Scratch::gradients, heads * d * chains);
  float* factor = scratch(Scratch::lanes, heads);
  prefetch(slot, 0, 0);
  for (int64_t j = 0; j < heads * d; ++j) queries[j] = q[j] * (slot.shape.scale * log2_e);
  for (int64_t j = 0; j < heads * d * chains; ++j) sums[j] = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    prefetch(slot, b + 1 < blocks ? b + 1 : 0, b + 1 < blocks ? 0 : kv_heads);
    for (int64_t h = 0; h < kv_heads; ++h) {
      const float* keys = keys_of(slot, b, h);
      by_four(group, [&]<int R>(int64_t first) __attribute__((always_inline)) {
        const int64_t head = h * group + first;
        score_block<R>(keys, queries + head * d, d, scores + head * ld + b * block, ld);
      });
    }
  }
  for (int64_t head = 0; head < heads; ++head) factor[head] = 1.0f / softmax_row(scores + head * ld, n);
  for (int64_t b = 0; b < blocks; ++b) {
    if (b + 1 < blocks) prefetch(slot, b + 1, kv_heads);
    const int64_t used = n - b * block < block ? n - b * block : block;
    for (int64_t h = 0; h < kv_heads; ++h) {
      const float* values = values_of(slot, b, h);
      by_four(group, [&]<int R>(int64_t first) __attribute__((always_inline)) {
        const int64_t head = h * group + first;
        value_block<R>(values, scores + head * ld + b * block, ld, used, d, sums + head * d * chains);
      });
    }
  }
  for (int64_t h = 0; h < kv_heads; ++h) {
    by_four(group, [&]<int R>(int64_t first) __attribute__((always_inline)) {
      const int64_t head = h * group + first;
      finish_values<R>(sums + head * d * chains, factor + head, d, out + head * d);
    });
  }
}

/// `tokens` tokens standing at positions first .. and all heads of one KV head; q and out point at the first
/// token's first such head.
void prefill_tile(const Slot& slot, int64_t kv_head, const float* q, int64_t ldq, int64_t first,
                  int64_t tokens, float* out, int64_t ld_out) {
  const int64_t d = slot.shape.head_dim;
  const int64_t group = slot.shape.heads / slot.shape.kv_heads;
  const int64_t m = tokens * group;
  const int64_t n = first + tokens;
  const int64_t ld = (n + block - 1) / block * block;
  float* scores = scratch(Scratch::scores, m * ld);
  float* queries = scratch(Scratch::queries, 2 * m * d);
  float* sums = queries + m * d;
  for (int64_t i = 0; i < tokens; ++i) {
    for (int64_t j = 0; j < group * d; ++j)
      queries[i * group * d + j] = q[i * ldq + j] * (slot.shape.scale * log2_e);
  }
  for (int64_t b = 0; b * block < n; ++b) {
    gemm(m, block, d, queries, d, 1, keys_of(slot, b, kv_head), block, scores + b * block, ld, false);
  }
  float* totals = scratch(Scratch::lanes, m);
  for (int64_t i = 0; i < m; ++i) {
    const int64_t visible = first + i / group + 1;
    float* row = scores + i * ld;
    totals[i] = softmax_row(row, visible);
    for (int64_t j = (visible + block - 1) / block * block; j < ld; ++j) row[j] = 0;
  }
  for (int64_t b = 0; b * block < n; ++b) {
    const int64_t used = n - b * block < block ? n - b * block : block;
    gemm(m, d, used, scores + b * block, ld, 1, values_of(slot, b, kv_head), d, sums, d, b > 0);
  }
  for (int64_t i = 0; i < m; ++i) {
    float* target = out + i / group * ld_out + i % group * d;
    const float factor = 1.0f / totals[i];
    for (int64_t j = 0; j < d; ++j) target[j] = sums[i * d + j] * factor;
  }
}

template <typename T, typename Convert>
SPA_INLINE void append_rows(T* data, int64_t block_stride, const int32_t* table, int64_t first,
                            const float* k, const float* v, int64_t ld, const HeadShape& shape, int64_t rows,
                            Convert convert) {
  const int64_t d = shape.head_dim;
  const int64_t part = d * block;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t position = first + i;
    T* target = data + table[position / block] * block_stride;
    const int64_t at = position % block;
    for (int64_t h = 0; h < shape.kv_heads; ++h) {
      const float* key = k + i * ld + h * d;
      const float* value = v + i * ld + h * d;
      T* keys = target + h * part + at;
      T* values = target + (shape.kv_heads + h) * part + at * d;
      for (int64_t j = 0; j < d; ++j) keys[j * block] = convert(key[j]);
      for (int64_t j = 0; j < d; ++j) values[j] = convert(value[j]);
    }
  }
}

}  // namespace

void kv_append(const KvView& cache, const int32_t* block_table, int64_t first, const float* k, const float* v,
               int64_t ld, const HeadShape& shape, int64_t rows) {
  if (cache.bfloat16) {
    append_rows(static_cast<Bf16*>(cache.data), cache.block_stride, block_table, first, k, v, ld, shape, rows,
                [](float x) {
                  Bf16 y;
                  to_bf16(&x, &y, 1);
                  return y;
                });
  } else {
    append_rows(static_cast<float*>(cache.data), cache.block_stride, block_table, first, k, v, ld, shape,
                rows, [](float x) { return x; });
  }
}

void attend_cached(const float* q, int64_t ldq, const KvView& cache, const int32_t* block_table,
                   int64_t first, const HeadShape& shape, float* out, int64_t ld_out, int64_t rows) {
  const int64_t d = shape.head_dim;
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t most = cache.bfloat16 ? rows_at_once_bf16 : rows_at_once;
  const int64_t step = group < most ? most / group : 1;
  float* spare = cache.bfloat16 ? scratch(Scratch::values, d * block) : nullptr;
  const Slot slot{cache, block_table, shape, spare};
  if (rows == 1 && d % lanes == 0) return decode_token(slot, q, first + 1, out);
  for (int64_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
    const int64_t offset = kv_head * group * d;
    for (int64_t i = 0; i < rows; i += step) {
      const int64_t tokens = rows - i < step ? rows - i : step;
      prefill_tile(slot, kv_head, q + i * ldq + offset, ldq, first + i, tokens, out + i * ld_out + offset,
                   ld_out);
    }
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
