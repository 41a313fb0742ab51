#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

SPA_INLINE Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }

struct Gradient {
  Vec gate, up;
};

// of y = g s(g) u: d y / d g = s (1 + g (1 - s)) u, d y / d u = g s
SPA_INLINE Gradient gradient(Vec grad, Vec gate, Vec up) {
  const Vec s = sigmoid(gate);
  const Vec silu = gate * s;
  return {grad * up * (s + silu * (1.0f - s)), grad * silu};
}

template <typename T>
void forward(const T* gate_up, int64_t ld_gate_up, T* y, int64_t ldy, int64_t rows, int64_t width) {
  const int64_t whole = width - width % lanes;
  const int64_t tail = width - whole;
  for (int64_t i = 0; i < rows; ++i) {
    const T* gate = gate_up + i * ld_gate_up;
    const T* up = gate + width;
    T* out = y + i * ldy;
    for (int64_t j = 0; j < whole; j += lanes) {
      const Vec g = load(gate + j);
      store(out + j, g * sigmoid(g) * load(up + j));
    }
    if (tail) {
      const Vec g = load_partial(gate + whole, tail);
      store_partial(out + whole, g * sigmoid(g) * load_partial(up + whole, tail), tail);
    }
  }
}

template <typename T>
void backward(const T* grad_y, int64_t ld_grad_y, const T* gate_up, int64_t ld_gate_up, T* grad_gate_up,
              int64_t ld_grad, int64_t rows, int64_t width) {
  const int64_t whole = width - width % lanes;
  const int64_t tail = width - whole;
  for (int64_t i = 0; i < rows; ++i) {
    const T* grad = grad_y + i * ld_grad_y;
    const T* gate = gate_up + i * ld_gate_up;
    T* target = grad_gate_up + i * ld_grad;
    for (int64_t j = 0; j < whole; j += lanes) {
      const Gradient g = gradient(load(grad + j), load(gate + j), load(gate + width + j));
      store(target + j, g.gate);
      store(target + width + j, g.up);
    }
    if (tail) {
      const Gradient g = gradient(load_partial(grad + whole, tail), load_partial(gate + whole, tail),
                                  load_partial(gate + width + whole, tail));
      store_partial(target + whole, g.gate, tail);
      store_partial(target + width + whole, g.up, tail);
    }
  }
}

}  // namespace

void swiglu(const float* gate_up, int64_t ld_gate_up, float* y, int64_t ldy, int64_t rows, int64_t width) {
  forward(gate_up, ld_gate_up, y, ldy, rows, width);
}

void swiglu_bf16(const Bf16* gate_up, int64_t ld_gate_up, Bf16* y, int64_t ldy, int64_t rows, int64_t width) {
  forward(gate_up, ld_gate_up, y, ldy, rows, width);
}

void swiglu_backward(const float* grad_y, int64_t ld_grad_y, const float* gate_up, int64_t ld_gate_up,
                     float* grad_gate_up, int64_t ld_grad, int64_t rows, int64_t width) {
  backward(grad_y, ld_grad_y, gate_up, ld_gate_up, grad_gate_up, ld_grad, rows, width);
}

void swiglu_backward_bf16(const Bf16* grad_y, int64_t ld_grad_y, const Bf16* gate_up, int64_t ld_gate_up,
                          Bf16* grad_gate_up, int64_t ld_grad, int64_t rows, int64_t width) {
  backward(grad_y, ld_grad_y, gate_up, ld_gate_up, grad_gate_up, ld_grad, rows, width);
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
