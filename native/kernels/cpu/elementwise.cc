// Passes over flat buffers: optimiser, sums, conversions.
#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

SPA_INLINE Bf16 round_to_bf16(uint32_t bits) {
  const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<Bf16>(nan ? (bits >> 16) | 0x40u : rounded);
}

struct AdamWStep {
  Vec parameter, first, second;
};

SPA_INLINE AdamWStep adamw_step(Vec parameter, Vec gradient, Vec first, Vec second, const AdamWScalars& s) {
  const Vec g = gradient * s.gradient_scale;
  first = first * s.beta1 + g * (1.0f - s.beta1);
  second = second * s.beta2 + g * g * (1.0f - s.beta2);
  const Vec denominator = square_root(second) * (1.0f / __builtin_sqrtf(s.correction2)) + s.epsilon;
  parameter = parameter * (1.0f - s.learning_rate * s.weight_decay);
  parameter -= first * (s.learning_rate / s.correction1) / denominator;
  return {parameter, first, second};
}

}  // namespace

void adamw(float* parameter, const float* gradient, float* first_moment, float* second_moment,
           Bf16* parameter_bf16, const AdamWScalars& scalars, int64_t n) {
  for (int64_t i = 0; i < n; i += lanes) {
    const int64_t tail = n - i;
    if (tail >= lanes) {
      const AdamWStep r = adamw_step(load(parameter + i), load(gradient + i), load(first_moment + i),
                                     load(second_moment + i), scalars);
      store(parameter + i, r.parameter);
      store(first_moment + i, r.first);
      store(second_moment + i, r.second);
    } else {
      const AdamWStep r =
          adamw_step(load_partial(parameter + i, tail), load_partial(gradient + i, tail),
                     load_partial(first_moment + i, tail), load_partial(second_moment + i, tail), scalars);
      store_partial(parameter + i, r.parameter, tail);
      store_partial(first_moment + i, r.first, tail);
      store_partial(second_moment + i, r.second, tail);
    }
  }
  if (parameter_bf16) to_bf16(parameter, parameter_bf16, n);
}

double squared_norm(const float* x, int64_t n) {
  constexpr int64_t chains = 8;
  double part[chains] = {};
  int64_t i = 0;
  for (; i + chains <= n; i += chains) {
    for (int64_t j = 0; j < chains; ++j) part[j] += static_cast<double>(x[i + j]) * x[i + j];
  }
  for (; i < n; ++i) part[0] += static_cast<double>(x[i]) * x[i];
  double total = 0;
  for (const double p : part) total += p;
  return total;
}

void add(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

void scale(float* x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

void to_float(const Bf16* x, float* y, int64_t n) {
  auto* bits = reinterpret_cast<uint32_t __attribute__((may_alias))*>(y);
  for (int64_t i = 0; i < n; ++i) bits[i] = static_cast<uint32_t>(x[i]) << 16;
}

void to_bf16(const float* x, Bf16* y, int64_t n) {
  const auto* bits = reinterpret_cast<const uint32_t __attribute__((may_alias))*>(x);
  for (int64_t i = 0; i < n; ++i) y[i] = round_to_bf16(bits[i]);
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
