#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

// Half a head is often 8 floats, so vectors are no longer than that.
constexpr int half_lanes = lanes < 8 ? lanes : 8;
typedef float HalfHeadVec __attribute__((vector_size(half_lanes * 4)));
typedef float UnalignedHalfHeadVec __attribute__((vector_size(half_lanes * 4), aligned(4), may_alias));

SPA_INLINE HalfHeadVec load_half(const float* p) { return *reinterpret_cast<const UnalignedHalfHeadVec*>(p); }
SPA_INLINE void store_half(float* p, HalfHeadVec v) { *reinterpret_cast<UnalignedHalfHeadVec*>(p) = v; }

SPA_INLINE void rotate_head(float* x, const float* cosine, const float* sine, float direction, int64_t half) {
  int64_t j = 0;
  for (; j + half_lanes <= half; j += half_lanes) {
    const HalfHeadVec a = load_half(x + j), b = load_half(x + half + j);
    const HalfHeadVec c = load_half(cosine + j), s = load_half(sine + j) * direction;
    store_half(x + j, a * c - b * s);
    store_half(x + half + j, b * c + a * s);
  }
  for (; j < half; ++j) {
    const float a = x[j], b = x[half + j], c = cosine[j], s = sine[j] * direction;
    x[j] = a * c - b * s;
    x[half + j] = b * c + a * s;
  }
}

/// The same for bfloat16, rounded once at the end.
SPA_INLINE void rotate_head(Bf16* x, const float* cosine, const float* sine, float direction, int64_t half) {
  int64_t j = 0;
  for (; j + lanes <= half; j += lanes) {
    const Vec a = load(x + j), b = load(x + half + j);
    const Vec c = load(cosine + j), s = load(sine + j) * direction;
    store(x + j, a * c - b * s);
    store(x + half + j, b * c + a * s);
  }
  if (j == half) return;
  const int64_t tail = half - j;
  const Vec a = load_partial(x + j, tail), b = load_partial(x + half + j, tail);
  const Vec c = load_partial(cosine + j, tail), s = load_partial(sine + j, tail) * direction;
  store_partial(x + j, a * c - b * s, tail);
  store_partial(x + half + j, b * c + a * s, tail);
}

template <typename T>
void rotate(T* x, int64_t ldx, int64_t heads, int64_t head_dim, const float* cosine, const float* sine,
            const int64_t* positions, float direction, int64_t rows) {
  const int64_t half = head_dim / 2;
  for (int64_t i = 0; i < rows; ++i) {
    const float* c = cosine + positions[i] * half;
    const float* s = sine + positions[i] * half;
    for (int64_t h = 0; h < heads; ++h) rotate_head(x + i * ldx + h * head_dim, c, s, direction, half);
  }
}

}  // namespace

void rope(float* x, int64_t ldx, int64_t heads, int64_t head_dim, const float* cosine, const float* sine,
          const int64_t* positions, float direction, int64_t rows) {
  rotate(x, ldx, heads, head_dim, cosine, sine, positions, direction, rows);
}

void rope_bf16(Bf16* x, int64_t ldx, int64_t heads, int64_t head_dim, const float* cosine, const float* sine,
               const int64_t* positions, float direction, int64_t rows) {
  rotate(x, ldx, heads, head_dim, cosine, sine, positions, direction, rows);
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
