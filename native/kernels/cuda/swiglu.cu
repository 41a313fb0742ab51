#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spa::kernels::cuda {
namespace {

/// One thread an element of y.
template <typename T>
__global__ void forward_kernel(const T* gate_up, int64_t rows, int64_t width, T* y) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i >= rows * width) return;
  const T* row = gate_up + i / width * 2 * width + i % width;
  const float gate = widen(row[0]);
  y[i] = narrow<T>(gate / (1.0f + __expf(-gate)) * widen(row[width]));
}

template <typename T>
__global__ void backward_kernel(const T* grad, const T* gate_up, int64_t rows, int64_t width,
                                T* grad_gate_up) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i >= rows * width) return;
  const int64_t at = i / width * 2 * width + i % width;
  const float gate = widen(gate_up[at]), up = widen(gate_up[at + width]), g = widen(grad[i]);
  const float s = 1.0f / (1.0f + __expf(-gate));
  const float silu = gate * s;
  grad_gate_up[at] = narrow<T>(g * up * (s + silu * (1.0f - s)));
  grad_gate_up[at + width] = narrow<T>(g * silu);
}

}  // namespace

void swiglu(const SwiGlu& s, Stream stream) {
  const int64_t size = s.rows * s.width;
  if (size == 0) return;
  with_element(s.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch(forward_kernel<T>, {blocks_for(size), block_threads, stream}, static_cast<const T*>(s.gate_up),
           s.rows, s.width, static_cast<T*>(s.y));
  });
}

void swiglu_backward(const SwiGluBackward& s, Stream stream) {
  const int64_t size = s.rows * s.width;
  if (size == 0) return;
  with_element(s.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch(backward_kernel<T>, {blocks_for(size), block_threads, stream}, static_cast<const T*>(s.grad),
           static_cast<const T*>(s.gate_up), s.rows, s.width, static_cast<T*>(s.grad_gate_up));
  });
}

}  // namespace spa::kernels::cuda
