#include "kernels/cpu/kernels.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {
namespace {

template <typename T>
void forward(const T* x, int64_t ldx, const float* weight, float epsilon, T* y, int64_t ldy,
             float* inverse_rms, int64_t rows, int64_t width) {
  const int64_t whole = width - width % lanes;
  const int64_t tail = width - whole;
  for (int64_t i = 0; i < rows; ++i) {
    const T* row = x + i * ldx;
    Vec squares{};
    for (int64_t j = 0; j < whole; j += lanes) {
      const Vec v = load(row + j);
      squares += v * v;
    }
    if (tail) {
      const Vec v = load_partial(row + whole, tail);
      squares += v * v;
    }
    const float factor = 1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(width) + epsilon);
    if (inverse_rms) inverse_rms[i] = factor;
    T* out = y + i * ldy;
    for (int64_t j = 0; j < whole; j += lanes) store(out + j, load(row + j) * factor * load(weight + j));
    if (tail) {
      const Vec v = load_partial(row + whole, tail) * factor * load_partial(weight + whole, tail);
      store_partial(out + whole, v, tail);
    }
  }
}

// With n = x * s, s = 1 / rms(x), and g = grad_y * weight: grad_x = s * (g - n * mean(g * n)), grad_weight =
// sum of grad_y * n.
template <typename T>
void backward(const T* grad_y, int64_t ld_grad_y, const T* x, int64_t ldx, const float* weight,
              const float* inverse_rms, const T* grad_sum, int64_t ld_grad_sum, T* grad_x, int64_t ld_grad_x,
              float* grad_weight, int64_t rows, int64_t width) {
  const int64_t whole = width - width % lanes;
  const int64_t tail = width - whole;
  for (int64_t i = 0; i < rows; ++i) {
    const T* row = x + i * ldx;
    const T* grad = grad_y + i * ld_grad_y;
    const float s = inverse_rms[i];
    Vec products{};
    for (int64_t j = 0; j < whole; j += lanes) {
      const Vec gx = load(grad + j) * load(row + j);
      products += gx * load(weight + j);
      store(grad_weight + j, load(grad_weight + j) + gx * s);
    }
    if (tail) {
      const Vec gx = load_partial(grad + whole, tail) * load_partial(row + whole, tail);
      products += gx * load_partial(weight + whole, tail);
      store_partial(grad_weight + whole, load_partial(grad_weight + whole, tail) + gx * s, tail);
    }
    const float c = sum(products) * s * s / static_cast<float>(width);
    const T* past = grad_sum ? grad_sum + i * ld_grad_sum : nullptr;
    T* out = grad_x + i * ld_grad_x;
    for (int64_t j = 0; j < whole; j += lanes) {
      Vec v = (load(grad + j) * load(weight + j) - load(row + j) * c) * s;
      if (past) v += load(past + j);
      store(out + j, v);
    }
    if (tail) {
      Vec v = (load_partial(grad + whole, tail) * load_partial(weight + whole, tail) -
               load_partial(row + whole, tail) * c) *
              s;
      if (past) v += load_partial(past + whole, tail);
      store_partial(out + whole, v, tail);
    }
  }
}

}  // namespace

void rms_norm(const float* x, int64_t ldx, const float* weight, float epsilon, float* y, int64_t ldy,
              float* inverse_rms, int64_t rows, int64_t width) {
  forward(x, ldx, weight, epsilon, y, ldy, inverse_rms, rows, width);
}

void rms_norm_bf16(const Bf16* x, int64_t ldx, const float* weight, float epsilon, Bf16* y, int64_t ldy,
                   float* inverse_rms, int64_t rows, int64_t width) {
  forward(x, ldx, weight, epsilon, y, ldy, inverse_rms, rows, width);
}

void rms_norm_backward(const float* grad_y, int64_t ld_grad_y, const float* x, int64_t ldx,
                       const float* weight, const float* inverse_rms, const float* grad_sum,
                       int64_t ld_grad_sum, float* grad_x, int64_t ld_grad_x, float* grad_weight,
                       int64_t rows, int64_t width) {
  backward(grad_y, ld_grad_y, x, ldx, weight, inverse_rms, grad_sum, ld_grad_sum, grad_x, ld_grad_x,
           grad_weight, rows, width);
}

void rms_norm_backward_bf16(const Bf16* grad_y, int64_t ld_grad_y, const Bf16* x, int64_t ldx,
                            const float* weight, const float* inverse_rms, const Bf16* grad_sum,
                            int64_t ld_grad_sum, Bf16* grad_x, int64_t ld_grad_x, float* grad_weight,
                            int64_t rows, int64_t width) {
  backward(grad_y, ld_grad_y, x, ldx, weight, inverse_rms, grad_sum, ld_grad_sum, grad_x, ld_grad_x,
           grad_weight, rows, width);
}

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
