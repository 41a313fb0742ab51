#include "kernels/cuda/device.cuh"
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

at::Tensor swiglu(const at::Tensor& gate_up) {
  const c10::cuda::CUDAGuard guard(gate_up.device());
  const at::Tensor source = gate_up.contiguous();
  const int64_t rows = source.size(0), width = source.size(1) / 2;
  const at::Tensor y = at::empty({rows, width}, source.options());
  if (y.numel() == 0) return y;
  with_element(source, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    forward_kernel<T><<<blocks_for(y.numel()), block_threads, 0, current_stream()>>>(data_of<T>(source), rows,
                                                                                     width, data_of<T>(y));
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return y;
}

at::Tensor swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up) {
  const c10::cuda::CUDAGuard guard(gate_up.device());
  const at::Tensor source = gate_up.contiguous(), g = grad.contiguous();
  const int64_t rows = source.size(0), width = source.size(1) / 2;
  const at::Tensor result = at::empty_like(source);
  if (g.numel() == 0) return result;
  with_element(source, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    backward_kernel<T><<<blocks_for(g.numel()), block_threads, 0, current_stream()>>>(
        data_of<T>(g), data_of<T>(source), rows, width, data_of<T>(result));
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return result;
}

}  // namespace spa::kernels::cuda
