#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

constexpr int blocks = 16;  // Philox blocks that are made side by side

/// A 32-bit word of each block, in 64 bits, so that products need no widening.
using Words = uint64_t __attribute__((vector_size(8 * blocks)));

/// Words of the blocks under counters counter_low + 0 .. blocks - 1 (no carry into the upper half): word k of
/// block i at words[k][i].
SPA_INLINE void philox_blocks(uint64_t key, uint64_t counter_low, uint64_t counter_high, Words words[4]) {
  constexpr uint64_t low = 0xffffffffu;
  Words c0, c1 = Words{} + (counter_low >> 32), c2 = Words{} + (counter_high & low),
            c3 = Words{} + (counter_high >> 32);
  for (int i = 0; i < blocks; ++i) c0[i] = (counter_low + static_cast<uint64_t>(i)) & low;
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const Words p0 = c0 * uint64_t{0xD2511F53u}, p1 = c2 * uint64_t{0xCD9E8D57u};
    c0 = (p1 >> 32) ^ c1 ^ uint64_t{k0};
    c1 = p1 & low;
    c2 = (p0 >> 32) ^ c3 ^ uint64_t{k1};
    c3 = p0 & low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

}  // namespace

void dropout(const float* x, int64_t ldx, const int64_t* numbers, const DropoutMask& mask, float* y,
             int64_t ldy, int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const float* source = x + row * ldx;
    float* target = y + row * ldy;
    for (int64_t first = 0; first < width; first += 4 * blocks) {
      Words words[4];
      philox_blocks(mask.seed, DropoutMask::counter(numbers[row], first / 4), mask.stream, words);
      float factors[4 * blocks];
      for (int i = 0; i < blocks; ++i) {
        for (int k = 0; k < 4; ++k) factors[4 * i + k] = words[k][i] >= mask.threshold ? mask.factor : 0.0f;
      }
      const int64_t count = width - first < 4 * blocks ? width - first : 4 * blocks;
      for (int64_t j = 0; j < count; ++j) target[first + j] = source[first + j] * factors[j];
    }
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
