#include "kernels/amx/gemm.h"

#include "kernels/amx/tiles.h"

namespace spa::kernels::amx {
namespace {

// Rows of A that stay in the second-level cache while the panels go by.
constexpr int64_t resident_bytes = 1 << 20;

/// Part of a target: rows [row, row + 32), columns [column, column + 32), cut off at `rows` and `columns`.
struct Corner {
  int64_t row, column, rows, columns;
};

/// Writes a block of sums.
void put(const float* sums, const Corner& at, const Sums& target) {
  for (int64_t i = 0; i < at.rows; ++i) {
    float* c = target.c + (at.row + i) * target.ld + at.column;
    for (int64_t j = 0; j < at.columns; j += 16) {
      const __mmask16 mask = first_lanes(at.columns - j);
      __m512 v = _mm512_loadu_ps(sums + i * block + j);
      if (target.accumulate) v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, c + j));
      _mm512_mask_storeu_ps(c + j, mask, v);
    }
  }
}

void put(const float* sums, const Corner& at, const Rounded& target) {
  for (int64_t i = 0; i < at.rows; ++i) {
    Bf16* c = target.c + (at.row + i) * target.ld + at.column;
    for (int64_t j = 0; j < at.columns; j += 16) {
      _mm256_mask_storeu_epi16(c + j, first_lanes(at.columns - j),
                               rounded(_mm512_loadu_ps(sums + i * block + j)));
    }
  }
}

inline void put_row(float* c, __mmask16 mask, __m512 v) { _mm512_mask_storeu_ps(c, mask, v); }
inline void put_row(Bf16* c, __mmask16 mask, __m512 v) { _mm256_mask_storeu_epi16(c, mask, rounded(v)); }

template <typename T>
void put(const float* sums, const Corner& at, const Transposed<T>& target) {
  for (int64_t i = 0; i < at.rows; i += 16) {
    const __mmask16 mask = first_lanes(at.rows - i);
    __m512 bias = _mm512_setzero_ps();
    if (target.bias) bias = widen(_mm256_maskz_loadu_epi16(mask, target.bias + at.row + i));
    for (int64_t j = 0; j < at.columns; j += 16) {
      __m512i r[16];
      for (int k = 0; k < 16; ++k) r[k] = _mm512_loadu_si512(sums + (i + k) * block + j);
      transpose_words(r);
      const int64_t count = at.columns - j < 16 ? at.columns - j : 16;
      for (int64_t k = 0; k < count; ++k) {
        const int64_t row = at.column + j + k, column = at.row + i;
        __m512 v = _mm512_add_ps(_mm512_castsi512_ps(r[k]), bias);
        if (target.add) {
          v = _mm512_add_ps(v,
                            widen(_mm256_maskz_loadu_epi16(mask, target.add + row * target.ld_add + column)));
        }
        put_row(target.c + row * target.ld + column, mask, v);
      }
    }
  }
}

/// The sums that a block begins with, in the tiles.
template <typename Target>
inline void begin_sums(const Corner& at, const Target& target) {
  if constexpr (requires { target.carried; }) {
    const int64_t ld = target.ld_carried;
    if (target.carried) {
      return load_sums(target.carried + at.row * ld + at.column, ld, at.rows > half ? half * ld : 0);
    }
  }
  zero_sums();
}

template <typename Target>
void multiply_rows(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps,
                   const Target& target) {
  Tiles tiles;
  alignas(64) float sums[block * block];
  const int64_t panels = blocks_of(b.columns);
  const int64_t fitting = resident_bytes / (steps * block * 2) / block * block;
  const int64_t resident = fitting < block ? block : fitting;
  const bool dense = ld == steps * block;
  for (int64_t i0 = 0; i0 < m; i0 += resident) {
    const int64_t end = m - i0 < resident ? m : i0 + resident;
    for (int64_t p = 0; p < panels; ++p) {
      for (int64_t i = i0; i < end; i += block) {
        const Corner at{i, p * block, m - i < block ? m - i : block,
                        b.columns - p * block < block ? b.columns - p * block : block};
        const Bf16* rows = a + i * ld;
        const Bf16* next = dense && p == 0 && i + 2 * block <= m ? rows + block * ld : nullptr;
        tiles.configure(at.rows);
        begin_sums(at, target);
        block_sums(rows, ld, at.rows > half ? half * ld : 0, b.data + p * b.panel_stride, steps, next);
        store_sums(sums, block);
        put(sums, at, target);
      }
    }
  }
}

}  // namespace

void multiply(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps, const Sums& target) {
  multiply_rows(a, ld, m, b, steps, target);
}

void multiply(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps, const Rounded& target) {
  multiply_rows(a, ld, m, b, steps, target);
}

void multiply(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps,
              const Transposed<Bf16>& target) {
  multiply_rows(a, ld, m, b, steps, target);
}

void multiply(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps,
              const Transposed<float>& target) {
  multiply_rows(a, ld, m, b, steps, target);
}

void fill_panels_transposed(const Bf16* rows, int64_t ld, int64_t depth, int64_t columns, int64_t first,
                            int64_t last, Bf16* panels) {
  const int64_t steps = blocks_of(depth);
  for (int64_t p = first; p < last; ++p) {
    for (int64_t s = 0; s < steps; ++s) {
      const int64_t left = depth - s * block;
      const __mmask32 mask = left >= block ? 0xffffffffu : (1u << left) - 1;
      for (int64_t t = 0; t < 2; ++t) {
        const int64_t column = p * block + t * half;
        __m512i r[16];
        for (int64_t i = 0; i < half; ++i) {
          r[i] = column + i < columns ? _mm512_maskz_loadu_epi16(mask, rows + (column + i) * ld + s * block)
                                      : _mm512_setzero_si512();
        }
        transpose_words(r);
        Bf16* tile = panels + (p * steps + s) * step_elements + t * step_elements / 2;
        for (int64_t i = 0; i < half; ++i) _mm512_storeu_si512(tile + i * block, r[i]);
      }
    }
  }
}

namespace {

/// Rows row and row + 1 (zero from `depth` on) at `column`, 16 columns or as many as `mask` has.
inline __m512i row_pair(const Bf16* rows, int64_t ld, int64_t row, int64_t depth, int64_t column,
                        __mmask16 mask) {
  const Bf16* at = rows + row * ld + column;
  const __m256i low = row < depth ? _mm256_maskz_loadu_epi16(mask, at) : _mm256_setzero_si256();
  const __m256i high = row + 1 < depth ? _mm256_maskz_loadu_epi16(mask, at + ld) : _mm256_setzero_si256();
  return pairs(low, high);
}

}  // namespace

void fill_panels(const Bf16* rows, int64_t ld, int64_t depth, int64_t columns, int64_t first, int64_t last,
                 Bf16* panels) {
  const int64_t steps = blocks_of(depth);
  // Row by row through the panels, as the rows lie in memory.
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t i = 0; i < half; ++i) {
      const int64_t row = s * block + 2 * i;
      for (int64_t p = first; p < last; ++p) {
        Bf16* target = panels + (p * steps + s) * step_elements + i * block;
        for (int64_t t = 0; t < 2; ++t) {
          const int64_t column = p * block + t * half;
          const __mmask16 mask = column < columns ? first_lanes(columns - column) : 0;
          _mm512_storeu_si512(target + t * step_elements / 2, row_pair(rows, ld, row, depth, column, mask));
        }
      }
    }
  }
}

void transpose(const Bf16* rows, int64_t ld, int64_t depth, int64_t columns, Bf16* target,
               int64_t ld_target) {
  for (int64_t s = 0; s < depth; s += block) {
    for (int64_t j = 0; j < columns; j += half) {
      __m512i r[16];
      for (int64_t i = 0; i < half; ++i) r[i] = row_pair(rows, ld, s + 2 * i, depth, j, 0xffff);
      transpose_words(r);
      for (int64_t i = 0; i < half; ++i) _mm512_storeu_si512(target + (j + i) * ld_target + s, r[i]);
    }
  }
}

}  // namespace spa::kernels::amx
