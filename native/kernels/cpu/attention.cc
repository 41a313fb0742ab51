// Causal attention of one packed sequence. Scores stand transposed: a row per key, a lane per query, so that
// the softmax over keys is lane-wise and needs no horizontal sums, and K and V are used as they lie in
// memory. Keys are taken in chunks with a running maximum (Milakov & Gimelshein 2018, arXiv:1805.02867), as
// flash attention does (Dao et al. 2022, arXiv:2205.14135).
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/scratch.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

constexpr int tile_lanes = 32;               // queries x heads of a tile
constexpr int vectors = tile_lanes / lanes;  // of a row of scores
constexpr int64_t chunk = 256;               // keys at a time
constexpr float lowest = -3.402823466e+38f;

/// Queries [begin, begin + queries) of `heads` neighbouring heads; lane h * width + i is query begin + i of
/// head h.
struct Tile {
  int64_t begin, queries, heads, width, first_head;
};

struct Sequence {
  const float *q, *k, *v;  // k and v of the KV head at hand
  int64_t ld, length;
  const HeadShape& shape;
};

/// Two heads share a tile when there are two, so that a key's row is read once for both.
SPA_INLINE int64_t heads_in_tile(int64_t rest) { return rest >= 2 ? 2 : 1; }

SPA_INLINE void copy_row(const float* source, float* target, int64_t d) {
  int64_t j = 0;
  for (; j + lanes <= d; j += lanes) store(target + j, load(source + j));
  if (j < d) store_partial(target + j, load_partial(source + j, d - j), d - j);
}

/// rows [tile_lanes, d] = the tile's rows of x (unused lanes zero).
void gather(const float* x, int64_t ld, int64_t d, const Tile& tile, float* rows) {
  for (int64_t h = 0; h < tile.heads; ++h) {
    const float* source = x + tile.begin * ld + (tile.first_head + h) * d;
    float* target = rows + h * tile.width * d;
    for (int64_t i = 0; i < tile.queries; ++i) copy_row(source + i * ld, target + i * d, d);
    for (int64_t j = tile.queries * d; j < tile.width * d; ++j) target[j] = 0;
  }
}

/// columns [d, tile_lanes] = rows [tile_lanes, d] transposed.
void transpose_tile(const float* rows, int64_t d, float* columns) {
  int64_t j = 0;
  for (; j + lanes <= d; j += lanes) {
    for (int64_t l = 0; l < tile_lanes; l += lanes) {
      Vec block[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) block[i] = load(rows + (l + i) * d + j);
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) store(columns + (j + i) * tile_lanes + l, block[i]);
    }
  }
  for (; j < d; ++j) {
    for (int64_t l = 0; l < tile_lanes; ++l) columns[j * tile_lanes + l] = rows[l * d + j];
  }
}

/// Position of each lane's query.
SPA_INLINE void query_positions(const Tile& tile, IntVec position[vectors]) {
  const IntVec mask = IntVec{} + static_cast<int32_t>(tile.width - 1);
  for (int v = 0; v < vectors; ++v) {
    position[v] = ((lane_index() + v * lanes) & mask) + static_cast<int32_t>(tile.begin);
  }
}

/// Gives -inf (the lowest float) to scores of keys behind their query; keys first .. first + n - 1.
void mask_future(const IntVec position[vectors], int64_t first, int64_t n, int64_t diagonal, float* scores) {
  for (int64_t key = diagonal > first ? diagonal - first : 0; key < n; ++key) {
    for (int v = 0; v < vectors; ++v) {
      float* s = scores + key * tile_lanes + v * lanes;
      store(s, position[v] >= static_cast<int32_t>(first + key) ? load(s) : broadcast(lowest));
    }
  }
}

struct Softmax {
  Vec top[vectors];    // running maximum of the raw scores
  Vec total[vectors];  // running sum of exp2((score - top) * factor)
};

/// Turns a chunk of scores into weights relative to the running maximum; correction is what earlier chunks
/// are to be multiplied by.
void softmax_chunk(float* scores, int64_t n, float factor, Softmax& state, Vec correction[vectors]) {
  for (int v = 0; v < vectors; ++v) {
    Vec top = state.top[v];
    for (int64_t key = 0; key < n; ++key) top = maximum(load(scores + key * tile_lanes + v * lanes), top);
    correction[v] = exp2((state.top[v] - top) * factor);
    const Vec offset = top * factor;
    Vec total = state.total[v] * correction[v];
    for (int64_t key = 0; key < n; ++key) {
      float* s = scores + key * tile_lanes + v * lanes;
      const Vec e = exp2(load(s) * factor - offset);
      store(s, e);
      total += e;
    }
    state.top[v] = top;
    state.total[v] = total;
  }
}

/// Multiplies the tile's rows of x by their lane's factor.
void scale_rows(float* x, int64_t ld, int64_t d, const Tile& tile, const float factor[tile_lanes]) {
  for (int64_t h = 0; h < tile.heads; ++h) {
    for (int64_t i = 0; i < tile.queries; ++i) {
      float* row = x + (tile.begin + i) * ld + (tile.first_head + h) * d;
      scale(row, factor[h * tile.width + i], d);
    }
  }
}

void forward_tile(const Sequence& s, const Tile& tile, float* out, int64_t ld_out, float* log_sum_exp,
                  int64_t ld_lse) {
  const int64_t d = s.shape.head_dim;
  float* rows = scratch(Scratch::queries, 2 * tile_lanes * d);
  float* columns = rows + tile_lanes * d;
  float* scores = scratch(Scratch::scores, chunk * tile_lanes);
  gather(s.q, s.ld, d, tile, rows);
  transpose_tile(rows, d, columns);
  IntVec position[vectors];
  query_positions(tile, position);
  Softmax state;
  for (int v = 0; v < vectors; ++v) {
    state.top[v] = broadcast(lowest);
    state.total[v] = Vec{};
  }
  const float factor = s.shape.scale * log2_e;
  const int64_t keys = tile.begin + tile.queries;
  Vec correction[vectors];
  float factors[tile_lanes];
  for (int64_t first = 0; first < keys; first += chunk) {
    const int64_t n = keys - first < chunk ? keys - first : chunk;
    gemm(n, tile_lanes, d, s.k + first * s.ld, s.ld, 1, columns, tile_lanes, scores, tile_lanes, false);
    mask_future(position, first, n, tile.begin + 1, scores);
    softmax_chunk(scores, n, factor, state, correction);
    if (first > 0) {
      for (int v = 0; v < vectors; ++v) store(factors + v * lanes, correction[v]);
      scale_rows(out, ld_out, d, tile, factors);
    }
    for (int64_t h = 0; h < tile.heads; ++h) {
      gemm(tile.queries, d, n, scores + h * tile.width, 1, tile_lanes, s.v + first * s.ld, s.ld,
           out + tile.begin * ld_out + (tile.first_head + h) * d, ld_out, first > 0);
    }
  }
  for (int v = 0; v < vectors; ++v) store(factors + v * lanes, 1.0f / state.total[v]);
  scale_rows(out, ld_out, d, tile, factors);
  if (!log_sum_exp) return;
  for (int64_t h = 0; h < tile.heads; ++h) {
    for (int64_t i = 0; i < tile.queries; ++i) {
      const int64_t lane = h * tile.width + i;
      log_sum_exp[(tile.first_head + h) * ld_lse + tile.begin + i] =
          state.top[lane / lanes][lane % lanes] * s.shape.scale - __builtin_logf(factors[lane]);
    }
  }
}

struct Gradients {
  const float* grad_out;
  const float* out;
  int64_t ld_out;
  const float* log_sum_exp;
  int64_t ld_lse;
  float *q, *k, *v;
  int64_t ld;
};

/// Per lane: log-sum-exp in powers of two, and sum of out * grad_out. Unused lanes get an infinite
/// log-sum-exp: weight 0.
void lane_statistics(const Gradients& g, const Tile& tile, int64_t d, float lse[tile_lanes],
                     float dot[tile_lanes]) {
  for (int64_t lane = 0; lane < tile_lanes; ++lane) {
    const int64_t h = lane / tile.width, i = lane % tile.width;
    lse[lane] = __builtin_inff();
    dot[lane] = 0;
    if (h >= tile.heads || i >= tile.queries) continue;
    const int64_t row = (tile.begin + i) * g.ld_out + (tile.first_head + h) * d;
    int64_t j = 0;
    Vec products{};
    for (; j + lanes <= d; j += lanes) products += load(g.out + row + j) * load(g.grad_out + row + j);
    if (j < d) products += load_partial(g.out + row + j, d - j) * load_partial(g.grad_out + row + j, d - j);
    dot[lane] = sum(products);
    lse[lane] = g.log_sum_exp[(tile.first_head + h) * g.ld_lse + tile.begin + i] * log2_e;
  }
}

/// Scores become weights P, and score gradients dS = P (dP - dot) scale.
void gradient_chunk(float* scores, float* gradients, int64_t n, float scale, const float lse[tile_lanes],
                    const float dot[tile_lanes]) {
  const float factor = scale * log2_e;
  for (int v = 0; v < vectors; ++v) {
    const Vec offset = load(lse + v * lanes);
    const Vec mean = load(dot + v * lanes);
    for (int64_t key = 0; key < n; ++key) {
      float* s = scores + key * tile_lanes + v * lanes;
      float* gradient = gradients + key * tile_lanes + v * lanes;
      const Vec p = exp2(load(s) * factor - offset);
      store(s, p);
      store(gradient, p * (load(gradient) - mean) * scale);
    }
  }
}

void backward_tile(const Sequence& s, const Tile& tile, const Gradients& g) {
  const int64_t d = s.shape.head_dim;
  float* rows = scratch(Scratch::queries, 2 * tile_lanes * d);
  float* columns = rows + tile_lanes * d;
  float* grad_rows = scratch(Scratch::output_gradients, 2 * tile_lanes * d);
  float* grad_columns = grad_rows + tile_lanes * d;
  float* scores = scratch(Scratch::scores, chunk * tile_lanes);
  float* gradients = scratch(Scratch::gradients, chunk * tile_lanes);
  gather(s.q, s.ld, d, tile, rows);
  transpose_tile(rows, d, columns);
  gather(g.grad_out, g.ld_out, d, tile, grad_rows);
  transpose_tile(grad_rows, d, grad_columns);
  float lse[tile_lanes], dot[tile_lanes];
  lane_statistics(g, tile, d, lse, dot);
  IntVec position[vectors];
  query_positions(tile, position);
  const int64_t keys = tile.begin + tile.queries;
  for (int64_t first = 0; first < keys; first += chunk) {
    const int64_t n = keys - first < chunk ? keys - first : chunk;
    const int64_t at = first * s.ld;
    gemm(n, tile_lanes, d, s.k + at, s.ld, 1, columns, tile_lanes, scores, tile_lanes, false);
    gemm(n, tile_lanes, d, s.v + at, s.ld, 1, grad_columns, tile_lanes, gradients, tile_lanes, false);
    mask_future(position, first, n, tile.begin + 1, scores);
    gradient_chunk(scores, gradients, n, s.shape.scale, lse, dot);
    gemm(n, d, tile_lanes, scores, tile_lanes, 1, grad_rows, d, g.v + first * g.ld, g.ld, true);
    gemm(n, d, tile_lanes, gradients, tile_lanes, 1, rows, d, g.k + first * g.ld, g.ld, true);
    for (int64_t h = 0; h < tile.heads; ++h) {
      gemm(tile.queries, d, n, gradients + h * tile.width, 1, tile_lanes, s.k + at, s.ld,
           g.q + tile.begin * g.ld + (tile.first_head + h) * d, g.ld, first > 0);
    }
  }
}

}  // namespace

void attention(const float* q, const float* k, const float* v, int64_t ld, int64_t length,
               const HeadShape& shape, int64_t kv_head, float* out, int64_t ld_out, float* log_sum_exp,
               int64_t ld_lse) {
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t offset = kv_head * shape.head_dim;
  const Sequence sequence{q, k + offset, v + offset, ld, length, shape};
  for (int64_t h = 0; h < group;) {
    const int64_t heads = heads_in_tile(group - h);
    const int64_t width = tile_lanes / heads;
    for (int64_t i = 0; i < length; i += width) {
      const int64_t queries = length - i < width ? length - i : width;
      forward_tile(sequence, {i, queries, heads, width, kv_head * group + h}, out, ld_out, log_sum_exp,
                   ld_lse);
    }
    h += heads;
  }
}

void attention_backward(const float* grad_out, const float* out, int64_t ld_out, const float* q,
                        const float* k, const float* v, int64_t ld, const float* log_sum_exp, int64_t ld_lse,
                        int64_t length, const HeadShape& shape, int64_t kv_head, float* grad_q, float* grad_k,
                        float* grad_v, int64_t ld_grad) {
  const int64_t group = shape.heads / shape.kv_heads;
  const int64_t d = shape.head_dim;
  const int64_t offset = kv_head * d;
  const Sequence sequence{q, k + offset, v + offset, ld, length, shape};
  const Gradients gradients{grad_out,        out,    ld_out, log_sum_exp, ld_lse, grad_q, grad_k + offset,
                            grad_v + offset, ld_grad};
  for (int64_t i = 0; i < length; ++i) {
    for (int64_t j = 0; j < d; ++j) gradients.k[i * ld_grad + j] = gradients.v[i * ld_grad + j] = 0;
  }
  for (int64_t h = 0; h < group;) {
    const int64_t heads = heads_in_tile(group - h);
    const int64_t width = tile_lanes / heads;
    for (int64_t i = 0; i < length; i += width) {
      const int64_t queries = length - i < width ? length - i : width;
      backward_tile(sequence, {i, queries, heads, width, kv_head * group + h}, gradients);
    }
    h += heads;
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
