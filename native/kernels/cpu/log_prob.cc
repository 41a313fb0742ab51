// Log-softmax at one entry of a row, entropy of the row, and their gradients.
#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

constexpr float lowest = -3.402823466e+38f;

/// Multiplies a row in place and returns its maximum.
SPA_INLINE float scale_row(float* z, float factor, int64_t n) {
  const int64_t whole = n - n % lanes;
  Vec top = broadcast(lowest);
  for (int64_t j = 0; j < whole; j += lanes) {
    const Vec v = load(z + j) * factor;
    store(z + j, v);
    top = maximum(v, top);
  }
  float result = largest(top);
  for (int64_t j = whole; j < n; ++j) {
    z[j] *= factor;
    if (z[j] > result) result = z[j];
  }
  return result;
}

}  // namespace

void log_prob(float* logits, int64_t ld, const int64_t* target, float inverse_temperature,
              float* log_prob_out, float* entropy, float* log_sum_exp, int64_t rows, int64_t vocab) {
  const int64_t whole = vocab - vocab % lanes;
  const int64_t tail = vocab - whole;
  for (int64_t i = 0; i < rows; ++i) {
    float* z = logits + i * ld;
    const float top = scale_row(z, inverse_temperature, vocab);
    Vec total{}, weighted{};
    for (int64_t j = 0; j < whole; j += lanes) {
      const Vec shifted = load(z + j) - top;
      const Vec e = exp(shifted);
      total += e;
      weighted += e * (e > 0.0f ? shifted : Vec{});
    }
    if (tail) {
      const Vec shifted = load_partial(z + whole, tail) - top;
      const Vec e = lane_index() < static_cast<int32_t>(tail) ? exp(shifted) : Vec{};
      total += e;
      weighted += e * (e > 0.0f ? shifted : Vec{});
    }
    const float normaliser = sum(total);
    const float log_normaliser = __builtin_logf(normaliser);
    log_prob_out[i] = z[target[i]] - top - log_normaliser;
    // H = log Z - sum p z, with z relative to the maximum.
    if (entropy) entropy[i] = log_normaliser - sum(weighted) / normaliser;
    if (log_sum_exp) log_sum_exp[i] = top + log_normaliser;
  }
}

// d log p_t / d z_j = [j = t] - p_j and d H / d z_j = -p_j (log p_j + H); z = logit / temperature.
void log_prob_backward(float* logits, int64_t ld, const int64_t* target, float inverse_temperature,
                       const float* log_sum_exp, const float* entropy, const float* grad_log_prob,
                       const float* grad_entropy, int64_t rows, int64_t vocab) {
  const int64_t whole = vocab - vocab % lanes;
  const int64_t tail = vocab - whole;
  for (int64_t i = 0; i < rows; ++i) {
    float* z = logits + i * ld;
    const float gp = grad_log_prob[i] * inverse_temperature;
    const float ge = grad_entropy ? grad_entropy[i] * inverse_temperature : 0.0f;
    const float h = grad_entropy ? entropy[i] : 0.0f;
    const float lse = log_sum_exp[i];
    for (int64_t j = 0; j < vocab; j += lanes) {
      const bool full = j < whole;
      const Vec log_p = (full ? load(z + j) : load_partial(z + j, tail)) - lse;
      const Vec p = exp(log_p);
      const Vec g = -p * (gp + ge * ((p > 0.0f ? log_p : Vec{}) + h));
      if (full) {
        store(z + j, g);
      } else {
        store_partial(z + j, g, tail);
      }
    }
    z[target[i]] += gp;
  }
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
