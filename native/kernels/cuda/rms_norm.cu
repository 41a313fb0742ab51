#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"

namespace spa::kernels::cuda {
namespace {

/// One block a row.
template <typename T>
__global__ void forward_kernel(const T* x, const float* weight, float epsilon, int64_t width, T* y,
                               float* inverse_rms) {
  const int64_t row = blockIdx.x;
  const T* source = x + row * width;
  float squares = 0;
  for (int64_t j = threadIdx.x; j < width; j += block_threads) {
    const float v = widen(source[j]);
    squares += v * v;
  }
  const float factor = rsqrtf(block_reduce(squares, Sum{}) / static_cast<float>(width) + epsilon);
  if (threadIdx.x == 0) inverse_rms[row] = factor;
  for (int64_t j = threadIdx.x; j < width; j += block_threads) {
    y[row * width + j] = narrow<T>(widen(source[j]) * factor * weight[j]);
  }
}

/// One block a row: grad_x = s (g - x s^2 mean(g x)) + grad_sum with s = 1 / rms and g = grad_y * weight.
template <typename T>
__global__ void backward_kernel(const T* grad_y, const T* x, const float* weight, const float* inverse_rms,
                                const T* grad_sum, int64_t width, T* grad_x) {
  const int64_t at = blockIdx.x * width;
  const float s = inverse_rms[blockIdx.x];
  float products = 0;
  for (int64_t j = threadIdx.x; j < width; j += block_threads) {
    products += widen(grad_y[at + j]) * weight[j] * widen(x[at + j]);
  }
  const float c = block_reduce(products, Sum{}) * s * s / static_cast<float>(width);
  for (int64_t j = threadIdx.x; j < width; j += block_threads) {
    float v = (widen(grad_y[at + j]) * weight[j] - widen(x[at + j]) * c) * s;
    if (grad_sum) v += widen(grad_sum[at + j]);
    grad_x[at + j] = narrow<T>(v);
  }
}

/// partial [gridDim.y, width]: sums of grad_y * x / rms over the rows of a chunk, one thread a column.
template <typename T>
__global__ void weight_kernel(const T* grad_y, const T* x, const float* inverse_rms, int64_t rows,
                              int64_t chunk, int64_t width, float* partial) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (column >= width) return;
  const int64_t begin = blockIdx.y * chunk;
  const int64_t end = begin + chunk < rows ? begin + chunk : rows;
  float total = 0;
  for (int64_t row = begin; row < end; ++row) {
    total += widen(grad_y[row * width + column]) * widen(x[row * width + column]) * inverse_rms[row];
  }
  partial[blockIdx.y * width + column] = total;
}

}  // namespace

RmsNormResult rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const c10::cuda::CUDAGuard guard(x.device());
  const at::Tensor source = x.contiguous(), w = weight.to(at::kFloat).contiguous();
  const int64_t width = x.size(-1), rows = width == 0 ? 0 : x.numel() / width;
  const at::Tensor output = at::empty_like(source);
  const at::Tensor inverse = at::empty({rows}, x.options().dtype(at::kFloat));
  if (rows == 0) return {output, inverse};
  with_element(x, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    forward_kernel<T><<<static_cast<unsigned>(rows), block_threads, 0, current_stream()>>>(
        data_of<T>(source), data_of<float>(w), static_cast<float>(epsilon), width, data_of<T>(output),
        data_of<float>(inverse));
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {output, inverse};
}

at::Tensor rms_norm_backward(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& inverse_rms, const at::Tensor& grad_sum,
                             const at::Tensor& grad_weight) {
  const c10::cuda::CUDAGuard guard(x.device());
  const at::Tensor grad = grad_output.contiguous(), source = x.contiguous(),
                   w = weight.to(at::kFloat).contiguous();
  const at::Tensor past = grad_sum.defined() ? grad_sum.contiguous() : grad_sum;
  const int64_t width = x.size(-1), rows = width == 0 ? 0 : x.numel() / width;
  const at::Tensor result = at::empty_like(source);
  if (rows == 0) return result;
  constexpr int64_t chunk = 64;
  const int64_t chunks = (rows + chunk - 1) / chunk;
  const at::Tensor partial =
      at::empty({grad_weight.defined() ? chunks : 0, width}, x.options().dtype(at::kFloat));
  with_element(x, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    backward_kernel<T><<<static_cast<unsigned>(rows), block_threads, 0, current_stream()>>>(
        data_of<T>(grad), data_of<T>(source), data_of<float>(w), data_of<float>(inverse_rms),
        past.defined() ? data_of<T>(past) : nullptr, width, data_of<T>(result));
    C10_CUDA_KERNEL_LAUNCH_CHECK();
    if (grad_weight.defined()) {
      // The y dimension of a grid ends at 65535; with more chunks each takes more rows.
      const int64_t used = std::min<int64_t>(chunks, 65535);
      const dim3 grid(blocks_for(width), static_cast<unsigned>(used));
      weight_kernel<T><<<grid, block_threads, 0, current_stream()>>>(
          data_of<T>(grad), data_of<T>(source), data_of<float>(inverse_rms), rows, (rows + used - 1) / used,
          width, data_of<float>(partial));
      C10_CUDA_KERNEL_LAUNCH_CHECK();
      grad_weight.add_(partial.narrow(0, 0, used).sum(0));
    }
  });
  return result;
}

}  // namespace spa::kernels::cuda
