// What the units of this folder share: the tile registers and vectors around them.
#pragma once

#include <immintrin.h>

#include "kernels/amx/gemm.h"

namespace spa::kernels::amx {

constexpr int64_t half = block / 2;               // rows of a tile
constexpr int64_t step_elements = block * block;  // of a panel in one step of the depth
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

/// Tiles 0-3 hold sums, 4 and 5 rows of A, 6 and 7 columns of B; released when it goes out of scope.
class Tiles {
 public:
  Tiles() { configure(block); }

  /// For blocks of `rows` rows. Tiles cannot be empty: up to 16 rows the second half repeats the first row.
  void configure(int64_t rows) {
    if (rows == rows_) return;
    rows_ = rows;
    TileConfig config;
    const auto first = static_cast<uint8_t>(rows < half ? rows : half);
    const auto second = static_cast<uint8_t>(rows > half ? rows - half : 1);
    const uint8_t counts[8] = {first, first, second, second, first, second, half, half};
    for (int i = 0; i < 8; ++i) {
      config.row_bytes[i] = 64;
      config.rows[i] = counts[i];
    }
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

 private:
  int64_t rows_ = 0;
};

/// Adds up a block; the second half of its rows starts `second` elements after the first. `next` (may be
/// null) points at the dense rows of the block that follows.
inline void block_sums(const Bf16* a, int64_t ld, int64_t second, const Bf16* b, int64_t steps,
                       const Bf16* next) {
  const int64_t stride = ld * 2;
  for (int64_t s = 0; s < steps; ++s, a += block, b += step_elements) {
    _tile_loadd(4, a, stride);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + step_elements / 2, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + second, stride);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    if (next) {
      // Rows that come from memory for the first time: the hardware follows too few of them at once.
      for (int64_t line = 0; line < step_elements; line += block) {
        _mm_prefetch(reinterpret_cast<const char*>(next + line), _MM_HINT_T1);
      }
      next += step_elements;
    }
  }
}

inline void zero_sums() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

inline void load_sums(const float* c, int64_t ld, int64_t second) {
  _tile_loadd(0, c, ld * 4);
  _tile_loadd(1, c + half, ld * 4);
  _tile_loadd(2, c + second, ld * 4);
  _tile_loadd(3, c + second + half, ld * 4);
}

inline void store_sums(float* c, int64_t ld) {
  _tile_stored(0, c, ld * 4);
  _tile_stored(1, c + half, ld * 4);
  _tile_stored(2, c + half * ld, ld * 4);
  _tile_stored(3, c + half * ld + half, ld * 4);
}

inline __mmask16 first_lanes(int64_t n) { return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1); }

inline __m512 widen(__m256i x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

inline __m256i rounded(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

/// Transposes 16 x 16 words held in registers; also for pairs of bfloat16.
inline void transpose_words(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

/// Pairs of two rows of 16: word j = (low[j], high[j]).
inline __m512i pairs(__m256i low, __m256i high) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

}  // namespace spa::kernels::amx
