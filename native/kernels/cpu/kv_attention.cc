// Attention of a slot's new tokens over its blocks of the KV cache.
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/scratch.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

constexpr int64_t block = kv_block_tokens;
constexpr int block_vectors = block / lanes;
constexpr int64_t rows_at_once = 16;  // queries x heads of a prefill tile
constexpr float lowest = -3.402823466e+38f;

/// The blocks of one slot, seen from one KV head.
struct Slot {
  KvView cache;
  const int32_t* table;
  HeadShape shape;
  int64_t kv_head;
  float* spare;  // for a head's part of a block in float32

  int64_t part_size() const { return shape.head_dim * block; }
};

/// A head's keys [head_dim, block] or values [block, head_dim] in block b, as float32.
SPA_INLINE const float* read_part(const Slot& slot, int64_t b, int64_t part) {
  const int64_t at = slot.table[b] * slot.cache.block_stride + part * slot.part_size();
  if (!slot.cache.bfloat16) return static_cast<const float*>(slot.cache.data) + at;
  to_float(static_cast<const Bf16*>(slot.cache.data) + at, slot.spare, slot.part_size());
  return slot.spare;
}

SPA_INLINE const float* keys_of(const Slot& slot, int64_t b) { return read_part(slot, b, slot.kv_head); }
SPA_INLINE const float* values_of(const Slot& slot, int64_t b) {
  return read_part(slot, b, slot.shape.kv_heads + slot.kv_head);
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

/// scores [R rows, ld] of R heads of one token; n keys. queries [R, head_dim] are scaled.
template <int R>
SPA_INLINE void decode_scores(const Slot& slot, const float* queries, int64_t n, float* scores, int64_t ld) {
  const int64_t d = slot.shape.head_dim;
  for (int64_t b = 0; b * block < n; ++b) {
    const float* keys = keys_of(slot, b);
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
      for (int v = 0; v < block_vectors; ++v) store(scores + r * ld + b * block + v * lanes, sums[r][v]);
    }
  }
}

/// out [R, head_dim] = factor[r] * sum of weights * values. Four chains a vector hide the latency of the
/// additions.
template <int R>
SPA_INLINE void decode_values(const Slot& slot, const float* weights, int64_t ld, int64_t n,
                              const float factor[R], float* out) {
  constexpr int chains = 4;
  const int64_t d = slot.shape.head_dim;
  for (int64_t j = 0; j < d; j += lanes) {
    Vec sums[R][chains] = {};
    for (int64_t b = 0; b * block < n; ++b) {
      const float* values = values_of(slot, b);
      const int64_t used = n - b * block < block ? n - b * block : block;
      // Values behind the last key are whatever the block held before, perhaps NaN: a zero weight would not
      // hide them.
      int64_t key = 0;
      for (; key + chains <= used; key += chains) {
#pragma GCC unroll 4
        for (int c = 0; c < chains; ++c) {
          const Vec value = load(values + (key + c) * d + j);
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) sums[r][c] += weights[r * ld + b * block + key + c] * value;
        }
      }
      for (; key < used; ++key) {
        const Vec value = load(values + key * d + j);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) sums[r][0] += weights[r * ld + b * block + key] * value;
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      store(out + r * d + j, ((sums[r][0] + sums[r][1]) + (sums[r][2] + sums[r][3])) * factor[r]);
    }
  }
}

/// One token, R neighbouring heads of one KV head.
template <int R>
void decode_heads(const Slot& slot, const float* q, int64_t n, float* out) {
  const int64_t d = slot.shape.head_dim;
  const int64_t ld = (n + block - 1) / block * block;
  float* scores = scratch(Scratch::scores, R * ld);
  float* queries = scratch(Scratch::queries, R * d);
  for (int64_t j = 0; j < R * d; ++j) queries[j] = q[j] * (slot.shape.scale * log2_e);
  decode_scores<R>(slot, queries, n, scores, ld);
  float factor[R];
  for (int r = 0; r < R; ++r) factor[r] = 1.0f / softmax_row(scores + r * ld, n);
  decode_values<R>(slot, scores, ld, n, factor, out);
}

void decode_token(const Slot& slot, const float* q, int64_t n, float* out) {
  const int64_t d = slot.shape.head_dim;
  int64_t rest = slot.shape.heads / slot.shape.kv_heads;
  for (; rest >= 4; rest -= 4, q += 4 * d, out += 4 * d) decode_heads<4>(slot, q, n, out);
  if (rest == 3) decode_heads<3>(slot, q, n, out);
  if (rest == 2) decode_heads<2>(slot, q, n, out);
  if (rest == 1) decode_heads<1>(slot, q, n, out);
}

/// `tokens` tokens standing at positions first .. and all heads of one KV head; q and out point at the first
/// token's first such head.
void prefill_tile(const Slot& slot, const float* q, int64_t ldq, int64_t first, int64_t tokens, float* out,
                  int64_t ld_out) {
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
    gemm(m, block, d, queries, d, 1, keys_of(slot, b), block, scores + b * block, ld, false);
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
    gemm(m, d, used, scores + b * block, ld, 1, values_of(slot, b), d, sums, d, b > 0);
  }
  for (int64_t i = 0; i < m; ++i) {
    float* target = out + i / group * ld_out + i % group * d;
    const float factor = 1.0f / totals[i];
    for (int64_t j = 0; j < d; ++j) target[j] = sums[i * d + j] * factor;
  }
}

template <typename T, typename Convert>
SPA_INLINE void append_rows(T* data, int64_t block_stride, const int32_t* table, int64_t first,
                            const float* k, const float* v, int64_t ld, HeadShape shape, int64_t rows,
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

void kv_append(KvView cache, const int32_t* block_table, int64_t first, const float* k, const float* v,
               int64_t ld, HeadShape shape, int64_t rows) {
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

void attend_cached(const float* q, int64_t ldq, KvView cache, const int32_t* block_table, int64_t first,
                   HeadShape shape, float* out, int64_t ld_out, int64_t rows) {
  const int64_t d = shape.head_dim;
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t step = group < rows_at_once ? rows_at_once / group : 1;
  float* spare = cache.bfloat16 ? scratch(Scratch::values, d * block) : nullptr;
  for (int64_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
    const Slot slot{cache, block_table, shape, kv_head, spare};
    const int64_t offset = kv_head * group * d;
    if (rows == 1 && d % lanes == 0) {
      decode_token(slot, q + offset, first + 1, out + offset);
      continue;
    }
    for (int64_t i = 0; i < rows; i += step) {
      const int64_t tokens = rows - i < step ? rows - i : step;
      prefill_tile(slot, q + i * ldq + offset, ldq, first + i, tokens, out + i * ld_out + offset, ld_out);
    }
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
