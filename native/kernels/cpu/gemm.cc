// Matrix products: tiles of rows x vectors in registers, sums over the depth in order, so that an element's
// value does not depend on the tile it fell into.
#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

constexpr int panel_columns = 64;

// Register tiles: `rows_of(v)` rows by v vectors fill the register file (32 registers with AVX-512 and on
// Arm, else 16).
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int max_vectors = 4;
constexpr int rows_of(int vectors) { return vectors == 4 ? 6 : vectors == 3 ? 8 : vectors == 2 ? 12 : 16; }
#else
constexpr int max_vectors = 2;
constexpr int rows_of(int vectors) { return vectors == 2 ? 6 : 8; }
#endif

struct Operands {
  const float* a;
  int64_t a_row, a_column;
  const float* b;
  int64_t ldb;
  float* c;
  int64_t ldc;
  int64_t depth;
  int64_t tail;       // columns of the last vector when it is not full, else 0
  const float* bias;  // added to the sums; may be null
  const float* add;   // added after that; may be null
  int64_t ld_add;
};

template <int V, bool Tail>
SPA_INLINE Vec load_column(const float* row, int v, int64_t tail) {
  return Tail && v == V - 1 ? load_partial(row + v * lanes, tail) : load(row + v * lanes);
}

/// c [R, V vectors] = a b (+ bias) (+ add). Tail: the last vector of b and c is partial.
template <int R, int V, bool Tail>
__attribute__((noinline)) void tile(const Operands& o) {
  Vec sums[R][V] = {};
  const float* a = o.a;
  const float* b = o.b;
  for (int64_t p = 0; p < o.depth; ++p, a += o.a_column, b += o.ldb) {
    Vec row[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) row[v] = load_column<V, Tail>(b, v, o.tail);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec x = broadcast(a[r * o.a_row]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] += x * row[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Vec y = sums[r][v];
      if (o.bias) y += load_column<V, Tail>(o.bias, v, o.tail);
      if (o.add) y += load_column<V, Tail>(o.add + r * o.ld_add, v, o.tail);
      float* target = o.c + r * o.ldc + v * lanes;
      if (Tail && v == V - 1) {
        store_partial(target, y, o.tail);
      } else {
        store(target, y);
      }
    }
  }
}

template <int R, int V, bool Tail>
SPA_INLINE void advance(Operands& o, int64_t& m) {
  while (m >= R) {
    tile<R, V, Tail>(o);
    o.a += R * o.a_row;
    o.c += R * o.ldc;
    if (o.add) o.add += R * o.ld_add;
    m -= R;
  }
}

/// m rows of V vectors.
template <int V, bool Tail>
void column_block(Operands o, int64_t m) {
  advance<rows_of(V), V, Tail>(o, m);
  if constexpr (rows_of(V) > 8) advance<8, V, Tail>(o, m);
  if constexpr (rows_of(V) > 4) advance<4, V, Tail>(o, m);
  advance<2, V, Tail>(o, m);
  advance<1, V, Tail>(o, m);
}

/// Up to max_vectors vectors; `columns` > 0.
void column_block_of(const Operands& operands, int64_t m, int64_t columns) {
  Operands o = operands;
  const int64_t vectors = (columns + lanes - 1) / lanes;
  o.tail = columns % lanes;
  const int64_t kind = vectors * 2 + (o.tail != 0);
  switch (kind) {
    case 2:
      return column_block<1, false>(o, m);
    case 3:
      return column_block<1, true>(o, m);
    case 4:
      return column_block<2, false>(o, m);
    case 5:
      return column_block<2, true>(o, m);
#if defined(__AVX512F__) || defined(__aarch64__)
    case 6:
      return column_block<3, false>(o, m);
    case 7:
      return column_block<3, true>(o, m);
    case 8:
      return column_block<4, false>(o, m);
    case 9:
      return column_block<4, true>(o, m);
#endif
    default:
      return;
  }
}

/// All columns of a row-major or panel-major b.
void all_columns(Operands o, int64_t m, int64_t n) {
  for (int64_t j = 0; j < n;) {
    const int64_t rest = n - j;
    const int64_t width = rest < max_vectors * lanes ? rest : max_vectors * lanes;
    column_block_of(o, m, width);
    j += width;
    o.b += width;
    o.c += width;
    if (o.bias) o.bias += width;
    if (o.add) o.add += width;
  }
}

}  // namespace

void gemm(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column, const float* b,
          int64_t ldb, float* c, int64_t ldc, bool accumulate) {
  // Depth in blocks, so that the part of b in use stays in the second-level cache.
  constexpr int64_t depth_block = 256;
  if (k == 0 && !accumulate) {
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = 0;
    }
  }
  for (int64_t p = 0; p < k; p += depth_block) {
    const int64_t depth = k - p < depth_block ? k - p : depth_block;
    const float* add = accumulate || p > 0 ? c : nullptr;
    all_columns({a + p * a_column, a_row, a_column, b + p * ldb, ldb, c, ldc, depth, 0, nullptr, add, ldc}, m,
                n);
  }
}

void linear(const float* x, int64_t ldx, const PanelMatrix& b, const float* bias, const float* add,
            int64_t ld_add, float* y, int64_t ldy, int64_t rows) {
  // Rows in blocks, so that they are still in the cache when the next panel wants them.
  constexpr int64_t row_block = 240;
  for (int64_t i = 0; i < rows; i += row_block) {
    const int64_t m = rows - i < row_block ? rows - i : row_block;
    for (int64_t j = 0; j < b.columns; j += panel_columns) {
      const int64_t columns = b.columns - j < panel_columns ? b.columns - j : panel_columns;
      const int64_t width = (columns + 15) / 16 * 16;
      all_columns({x + i * ldx, ldx, 1, b.data + j * b.depth, width, y + i * ldy + j, ldy, b.depth, 0,
                   bias ? bias + j : nullptr, add ? add + i * ld_add + j : nullptr, ld_add},
                  m, columns);
    }
  }
}

void fill_panels(const float* w, int64_t ldw, int64_t columns, int64_t depth, float* panels) {
  for (int64_t j = 0; j < columns; j += panel_columns) {
    const int64_t used = columns - j < panel_columns ? columns - j : panel_columns;
    const int64_t width = (used + 15) / 16 * 16;
    for (int64_t c = 0; c < width; ++c) {
      if (c < used) {
        for (int64_t p = 0; p < depth; ++p) panels[p * width + c] = w[(j + c) * ldw + p];
      } else {
        for (int64_t p = 0; p < depth; ++p) panels[p * width + c] = 0;
      }
    }
    panels += width * depth;
  }
}

void add_rows(const float* x, int64_t ldx, int64_t rows, int64_t columns, float* sum) {
  int64_t j = 0;
  for (; j + lanes <= columns; j += lanes) {
    Vec total = load(sum + j);
    for (int64_t i = 0; i < rows; ++i) total += load(x + i * ldx + j);
    store(sum + j, total);
  }
  for (; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) sum[j] += x[i * ldx + j];
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
