#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

// Half a head is often 8 floats: vectors of 8 whatever the instruction set.
typedef float UnalignedVec8 __attribute__((vector_size(32), aligned(4), may_alias));

SPA_INLINE void rotate_head(float* x, const float* cosine, const float* sine, float direction, int64_t half) {
  int64_t j = 0;
  for (; j + 8 <= half; j += 8) {
    auto* low = reinterpret_cast<UnalignedVec8*>(x + j);
    auto* high = reinterpret_cast<UnalignedVec8*>(x + half + j);
    const Vec8 c = *reinterpret_cast<const UnalignedVec8*>(cosine + j);
    const Vec8 s = *reinterpret_cast<const UnalignedVec8*>(sine + j) * direction;
    const Vec8 a = *low, b = *high;
    *low = a * c - b * s;
    *high = b * c + a * s;
  }
  for (; j < half; ++j) {
    const float a = x[j], b = x[half + j], c = cosine[j], s = sine[j] * direction;
    x[j] = a * c - b * s;
    x[half + j] = b * c + a * s;
  }
}

}  // namespace

void rope(float* x, int64_t ldx, int64_t heads, int64_t head_dim, const float* cosine, const float* sine,
          const int64_t* positions, float direction, int64_t rows) {
  const int64_t half = head_dim / 2;
  for (int64_t i = 0; i < rows; ++i) {
    const float* c = cosine + positions[i] * half;
    const float* s = sine + positions[i] * half;
    for (int64_t h = 0; h < heads; ++h) rotate_head(x + i * ldx + h * head_dim, c, s, direction, half);
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
