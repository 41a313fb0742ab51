// Vectors of the instruction set this unit is compiled for, through the vector extensions of GCC and Clang.
//
// Everything here and in the units that include it lives in a namespace per instruction set and uses no
// templates or inline functions of the standard library: the linker would keep one copy of those for all
// instruction sets, perhaps one that this CPU cannot run.
#pragma once

#include <cstdint>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#ifndef SPA_ISA_NAMESPACE
#define SPA_ISA_NAMESPACE baseline
#endif

#define SPA_INLINE static inline __attribute__((always_inline))

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

typedef float Vec __attribute__((vector_size(lanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(lanes * 4)));
typedef float UnalignedVec __attribute__((vector_size(lanes * 4), aligned(4), may_alias));
typedef uint16_t HalfVec __attribute__((vector_size(lanes * 2), aligned(2), may_alias));
typedef uint32_t WordVec __attribute__((vector_size(lanes * 4)));

SPA_INLINE Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
SPA_INLINE void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }

SPA_INLINE Vec broadcast(float x) {
#if defined(__AVX512F__)
  return Vec{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif defined(__AVX2__)
  return Vec{x, x, x, x, x, x, x, x};
#else
  return Vec{x, x, x, x};
#endif
}

SPA_INLINE IntVec lane_index() {
  IntVec v{};
  for (int i = 0; i < lanes; ++i) v[i] = i;
  return v;
}

/// The first n < lanes elements at p, the others zero; reads nothing beyond.
SPA_INLINE Vec load_partial(const float* p, int64_t n) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#elif defined(__AVX2__)
  return (Vec)_mm256_maskload_ps(p, (__m256i)(lane_index() < static_cast<int32_t>(n)));
#else
  Vec v{};
  for (int64_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

SPA_INLINE void store_partial(float* p, Vec v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, (__m256i)(lane_index() < static_cast<int32_t>(n)), (__m256)v);
#else
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// bfloat16 (as bits) is widened when loaded and rounded to nearest even when stored; NaN stays NaN.

SPA_INLINE Vec widen(HalfVec x) { return (Vec)(__builtin_convertvector(x, WordVec) << 16); }

SPA_INLINE HalfVec narrow(Vec v) {
  const WordVec bits = (WordVec)v;
  const WordVec rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const WordVec nan = (bits >> 16) | 0x40u;
  return __builtin_convertvector((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded, HalfVec);
}

SPA_INLINE Vec load(const uint16_t* p) { return widen(*reinterpret_cast<const HalfVec*>(p)); }
SPA_INLINE void store(uint16_t* p, Vec v) { *reinterpret_cast<HalfVec*>(p) = narrow(v); }

SPA_INLINE Vec load_partial(const uint16_t* p, int64_t n) {
  HalfVec x{};
  for (int64_t i = 0; i < n; ++i) x[i] = p[i];
  return widen(x);
}

SPA_INLINE void store_partial(uint16_t* p, Vec v, int64_t n) {
  const HalfVec x = narrow(v);
  for (int64_t i = 0; i < n; ++i) p[i] = x[i];
}

SPA_INLINE Vec maximum(Vec a, Vec b) { return a > b ? a : b; }

typedef float Vec4 __attribute__((vector_size(16)));
typedef float Vec8 __attribute__((vector_size(32)));

/// Folds a vector to four lanes by halves, always in the same order.
template <typename Combine>
SPA_INLINE Vec4 fold(Vec v, [[maybe_unused]] Combine combine) {
#if defined(__AVX512F__)
  const Vec8 low = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7);
  const Vec8 high = __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  const Vec8 half = combine(low, high);
#elif defined(__AVX2__)
  const Vec8 half = v;
#endif
#if defined(__AVX2__)
  return combine(__builtin_shufflevector(half, half, 0, 1, 2, 3),
                 __builtin_shufflevector(half, half, 4, 5, 6, 7));
#else
  return v;
#endif
}

SPA_INLINE float sum(Vec v) {
  const Vec4 f = fold(v, [](auto a, auto b) __attribute__((always_inline)) { return a + b; });
  return (f[0] + f[2]) + (f[1] + f[3]);
}

SPA_INLINE float largest(Vec v) {
  const Vec4 f = fold(v, [](auto a, auto b) __attribute__((always_inline)) { return a > b ? a : b; });
  const float a = f[0] > f[2] ? f[0] : f[2];
  const float b = f[1] > f[3] ? f[1] : f[3];
  return a > b ? a : b;
}

/// 2^x, relative error below 2e-7; 0 below the smallest normal number, x at most 127.
SPA_INLINE Vec exp2(Vec x) {
  // Adding 1.5 * 2^23 rounds to an integer that then stands in the low bits.
  const Vec magic = broadcast(12582912.0f);
  const Vec low = broadcast(-126.0f);
  const Vec clamped = x < low ? low : x;
  const Vec shifted = clamped + magic;
  const Vec r = clamped - (shifted - magic);  // in [-0.5, 0.5]
  // Minimax polynomial of 2^r, degree 6.
  Vec p = broadcast(1.535336188319500e-4f);
  p = p * r + 1.339887440266574e-3f;
  p = p * r + 9.618437357674640e-3f;
  p = p * r + 5.550332471162809e-2f;
  p = p * r + 2.402264791363012e-1f;
  p = p * r + 6.931472028550421e-1f;
  p = p * r + 1.0f;
  const IntVec exponent = (IntVec)shifted << 23;
  const Vec result = (Vec)((IntVec)p + exponent);
  return x < low ? Vec{} : result;
}

constexpr float log2_e = 1.4426950408889634f;
constexpr float ln_2 = 0.6931471805599453f;

/// e^x, relative error below 3e-7 for x in [-87, 88]; 0 below.
SPA_INLINE Vec exp(Vec x) {
  const Vec magic = broadcast(12582912.0f);
  const Vec low = broadcast(-87.3f);
  const Vec high = broadcast(88.0f);
  Vec clamped = x < low ? low : x;
  clamped = clamped > high ? high : clamped;
  const Vec shifted = clamped * log2_e + magic;
  const Vec n = shifted - magic;
  // ln 2 in two parts, the first short enough that n times it is exact.
  const Vec r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  Vec p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + (r + 1.0f);
  const Vec result = (Vec)((IntVec)p + ((IntVec)shifted << 23));
  return x < low ? Vec{} : result;
}

/// Square root, lane by lane (one instruction).
SPA_INLINE Vec square_root(Vec x) {
#if defined(__AVX512F__)
  return (Vec)_mm512_maskz_sqrt_ps(0xffff, (__m512)x);
#else
  for (int i = 0; i < lanes; ++i) x[i] = __builtin_sqrtf(x[i]);
  return x;
#endif
}

/// Transposes a block of lanes x lanes held in registers.
SPA_INLINE void transpose(Vec rows[lanes]) {
  // Stage s swaps bit s of the row index with bit s of the lane index.
#pragma GCC unroll 4
  for (int s = 1; s < lanes; s *= 2) {
    IntVec first{}, second{};
#pragma GCC unroll 16
    for (int j = 0; j < lanes; ++j) {
      first[j] = (j & s) ? lanes + j - s : j;
      second[j] = (j & s) ? lanes + j : j + s;
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if (i & s) continue;
#if defined(__clang__)
      Vec a, b;
      for (int j = 0; j < lanes; ++j) {
        a[j] = first[j] < lanes ? rows[i][first[j]] : rows[i + s][first[j] - lanes];
        b[j] = second[j] < lanes ? rows[i][second[j]] : rows[i + s][second[j] - lanes];
      }
#else
      const Vec a = __builtin_shuffle(rows[i], rows[i + s], first);
      const Vec b = __builtin_shuffle(rows[i], rows[i + s], second);
#endif
      rows[i] = a;
      rows[i + s] = b;
    }
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
