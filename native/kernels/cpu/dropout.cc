#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

constexpr int blocks = 16;  // Philox blocks that are made side by side

/// Words of the blocks under counters counter_low + 0 .. blocks - 1 (no carry into the upper half): word k of
/// block i at words[k][i].
SPA_INLINE void philox_blocks(uint64_t key, uint64_t counter_low, uint64_t counter_high,
                              uint32_t words[4][blocks]) {
  uint32_t c0[blocks], c1[blocks], c2[blocks], c3[blocks];
  for (int i = 0; i < blocks; ++i) {
    c0[i] = static_cast<uint32_t>(counter_low) + static_cast<uint32_t>(i);
    c1[i] = static_cast<uint32_t>(counter_low >> 32);
    c2[i] = static_cast<uint32_t>(counter_high);
    c3[i] = static_cast<uint32_t>(counter_high >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < blocks; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53u} * c0[i];
      const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2[i];
      const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
      const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
      c0[i] = n0;
      c1[i] = static_cast<uint32_t>(p1);
      c2[i] = n2;
      c3[i] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < blocks; ++i) {
    words[0][i] = c0[i];
    words[1][i] = c1[i];
    words[2][i] = c2[i];
    words[3][i] = c3[i];
  }
}

}  // namespace

void dropout(const float* x, int64_t ldx, const int64_t* numbers, const DropoutMask& mask, float* y,
             int64_t ldy, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* source = x + row * ldx;
    float* target = y + row * ldy;
    for (int64_t first = 0; first < width; first += 4 * blocks) {
      uint32_t words[4][blocks];
      philox_blocks(mask.seed, DropoutMask::counter(numbers[row], first / 4), mask.stream, words);
      const int64_t count = width - first < 4 * blocks ? width - first : 4 * blocks;
      for (int64_t j = 0; j < count; ++j) {
        const float factor = words[j % 4][j / 4] >= mask.threshold ? mask.factor : 0.0f;
        target[first + j] = source[first + j] * factor;
      }
    }
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
