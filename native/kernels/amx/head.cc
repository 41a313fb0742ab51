#include "kernels/amx/head.h"

#include "kernels/amx/tiles.h"

namespace spa::kernels::amx {
namespace {

constexpr float lowest = -3.402823466e+38f;
constexpr float log2_e = 1.4426950408889634f;
constexpr int64_t vectors = block / 16;
// Rows of the weight that stay in the second-level cache while the panels go by.
constexpr int64_t resident_bytes = 1 << 20;

/// 2^x for x <= 127, relative error below 3e-7; 0 far below.
inline __m512 exp2(__m512 x) {
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_set1_ps(1.535336188319500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.339887440266574e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.618437357674640e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.550332471162809e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.402264791363012e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.931472028550421e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}

/// Calls f(row in the rows, panel) for each block with its logits in `logits` [32 rows, 32 tokens].
template <typename F>
void for_each_block(const HeadRows& head, const HeadTokens& tokens, float* logits, const F& f) {
  Tiles tiles;
  const int64_t steps = head.depth / block;
  const int64_t fitting = resident_bytes / (head.depth * 2) / block * block;
  const int64_t resident = fitting < block ? block : fitting;
  for (int64_t i0 = 0; i0 < head.rows; i0 += resident) {
    const int64_t end = head.rows - i0 < resident ? head.rows : i0 + resident;
    for (int64_t p = 0; p < tokens.count; ++p) {
      for (int64_t i = i0; i < end; i += block) {
        const Bf16* rows = head.weight + (head.first + i) * head.depth;
        const Bf16* next = p == 0 && i + 2 * block <= head.rows ? rows + block * head.depth : nullptr;
        zero_sums();
        block_sums(rows, head.depth, half * head.depth, tokens.panels + p * steps * step_elements, steps,
                   next);
        store_sums(logits, block);
        f(i, p);
      }
    }
  }
}

/// Lanes whose target is one of the 32 rows from `first` on, as bits.
inline unsigned targets_in(const int32_t* targets, int64_t first) {
  const __m512i at =
      _mm512_sub_epi32(_mm512_loadu_si512(targets), _mm512_set1_epi32(static_cast<int>(first)));
  unsigned lanes = _mm512_cmplt_epu32_mask(at, _mm512_set1_epi32(block));
  // GCC 12 at -O1 may spill a mask register as 16 bits and read 32: a general register holds it before.
  asm("" : "+r"(lanes));
  return lanes;
}

/// Adds a block's logits for 16 tokens.
inline void add_block(const float* logits, float inverse_temperature, float* top, float* total,
                      float* weighted) {
  const __m512 scale = _mm512_set1_ps(inverse_temperature);
  __m512 largest = _mm512_loadu_ps(logits);
  for (int64_t i = 1; i < block; ++i) largest = _mm512_max_ps(largest, _mm512_loadu_ps(logits + i * block));
  const __m512 before = _mm512_loadu_ps(top);
  largest = _mm512_max_ps(_mm512_mul_ps(largest, scale), before);
  const __m512 to_power = _mm512_set1_ps(log2_e);
  __m512 sum = _mm512_setzero_ps(), product = _mm512_setzero_ps();
  for (int64_t i = 0; i < block; ++i) {
    const __m512 z = _mm512_fmsub_ps(_mm512_loadu_ps(logits + i * block), scale, largest);
    const __m512 e = exp2(_mm512_mul_ps(z, to_power));
    sum = _mm512_add_ps(sum, e);
    product = _mm512_fmadd_ps(e, z, product);
  }
  // Relative to the new maximum: e (z - new) = e' (e (z - old) + e (old - new)) with e' = exp(old - new).
  __m512 old_total = _mm512_loadu_ps(total), old_weighted = _mm512_loadu_ps(weighted);
  const __mmask16 raised = _mm512_cmp_ps_mask(largest, before, _CMP_GT_OQ) &
                           _mm512_cmp_ps_mask(before, _mm512_set1_ps(lowest), _CMP_GT_OQ);
  if (raised) {
    const __m512 shift = _mm512_sub_ps(before, largest);
    const __m512 factor = exp2(_mm512_mul_ps(shift, to_power));
    old_weighted =
        _mm512_mask_mul_ps(old_weighted, raised, _mm512_fmadd_ps(old_total, shift, old_weighted), factor);
    old_total = _mm512_mask_mul_ps(old_total, raised, old_total, factor);
  }
  _mm512_storeu_ps(top, largest);
  _mm512_storeu_ps(total, _mm512_add_ps(old_total, sum));
  _mm512_storeu_ps(weighted, _mm512_add_ps(old_weighted, product));
}

/// Gradients of 16 tokens: lanes of what HeadGradients holds, scaled.
struct Lanes {
  __m512 log_sum_exp, grad_log_prob, grad_entropy, entropy;
};

inline Lanes lanes_at(const HeadGradients& g, float inverse_temperature, int64_t token) {
  const __m512 scale = _mm512_set1_ps(inverse_temperature);
  const __m512 zero = _mm512_setzero_ps();
  return {_mm512_loadu_ps(g.log_sum_exp + token),
          _mm512_mul_ps(_mm512_loadu_ps(g.grad_log_prob + token), scale),
          g.grad_entropy ? _mm512_mul_ps(_mm512_loadu_ps(g.grad_entropy + token), scale) : zero,
          g.grad_entropy ? _mm512_loadu_ps(g.entropy + token) : zero};
}

/// d log p_t / d z_j = [j = t] - p_j and d H / d z_j = -p_j (log p_j + H); the target's 1 is added elsewhere.
inline __m512 logit_gradient(__m512 logit, const Lanes& lanes, __m512 scale, bool through_entropy) {
  const __m512 log_p = _mm512_fmsub_ps(logit, scale, lanes.log_sum_exp);
  const __m512 p = exp2(_mm512_mul_ps(log_p, _mm512_set1_ps(log2_e)));
  __m512 factor = lanes.grad_log_prob;
  if (through_entropy)
    factor = _mm512_fmadd_ps(lanes.grad_entropy, _mm512_add_ps(log_p, lanes.entropy), factor);
  return _mm512_fnmadd_ps(p, factor, _mm512_setzero_ps());
}

}  // namespace

void HeadStatistics::start() {
  for (int64_t i = 0; i < block; ++i) {
    top[i] = lowest;
    total[i] = weighted[i] = picked[i] = 0;
  }
}

void head_statistics(const HeadRows& head, const HeadTokens& tokens, HeadStatistics* statistics) {
  alignas(64) float logits[block * block];
  for_each_block(head, tokens, logits, [&](int64_t row, int64_t panel) {
    HeadStatistics& s = statistics[panel];
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t lane = v * 16;
      add_block(logits + lane, tokens.inverse_temperature, s.top + lane, s.total + lane, s.weighted + lane);
      const int32_t* targets = tokens.targets + panel * block + lane;
      for (unsigned hits = targets_in(targets, head.first + row); hits; hits &= hits - 1) {
        const int hit = __builtin_ctz(hits);
        s.picked[lane + hit] =
            logits[(targets[hit] - head.first - row) * block + lane + hit] * tokens.inverse_temperature;
      }
    }
  });
}

void head_gradient(const HeadRows& head, const HeadTokens& tokens, const HeadGradients& gradients,
                   Bf16* by_row, int64_t ld, Bf16* by_panel, int64_t panel_stride) {
  alignas(64) float logits[block * block];
  const __m512 scale = _mm512_set1_ps(tokens.inverse_temperature);
  const bool through_entropy = gradients.grad_entropy != nullptr;
  for_each_block(head, tokens, logits, [&](int64_t row, int64_t panel) {
    for (int64_t v = 0; v < vectors; ++v) {
      const int64_t token = panel * block + v * 16;
      const Lanes lanes = lanes_at(gradients, tokens.inverse_temperature, token);
      float* own = logits + v * 16;
      for (int64_t i = 0; i < block; ++i) {
        _mm512_storeu_ps(own + i * block,
                         logit_gradient(_mm512_loadu_ps(own + i * block), lanes, scale, through_entropy));
      }
      for (unsigned hits = targets_in(tokens.targets + token, head.first + row); hits; hits &= hits - 1) {
        const int hit = __builtin_ctz(hits);
        own[(tokens.targets[token + hit] - head.first - row) * block + hit] +=
            gradients.grad_log_prob[token + hit] * tokens.inverse_temperature;
      }
      Bf16* tile = by_panel + panel * panel_stride + row / block * step_elements + v * step_elements / 2;
      for (int64_t i = 0; i < block; i += 2) {
        const __m256i even = rounded(_mm512_loadu_ps(own + i * block));
        const __m256i odd = rounded(_mm512_loadu_ps(own + (i + 1) * block));
        Bf16* target = by_row + (row + i) * ld + token;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), even);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(target + ld), odd);
        _mm512_storeu_si512(tile + i / 2 * block, pairs(even, odd));
      }
    }
  });
}

}  // namespace spa::kernels::amx
