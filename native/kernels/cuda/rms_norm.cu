#include <algorithm>
#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
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

/// sum += the rows of partial added up in order, one thread a column.
__global__ void add_rows_kernel(const float* partial, int64_t rows, int64_t width, float* sum) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (column >= width) return;
  float total = 0;
  for (int64_t row = 0; row < rows; ++row) total += partial[row * width + column];
  sum[column] += total;
}

}  // namespace

int64_t rms_norm_chunks(int64_t rows) {
  // The y dimension of a grid ends at 65535; with more chunks each takes more rows.
  constexpr int64_t chunk = 64, most = 65535;
  return std::min((rows + chunk - 1) / chunk, most);
}

void rms_norm(const RmsNorm& n, Stream stream) {
  if (n.rows == 0 || n.width == 0) return;
  with_element(n.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch(forward_kernel<T>, {static_cast<unsigned>(n.rows), block_threads, stream},
           static_cast<const T*>(n.x), n.weight, n.epsilon, n.width, static_cast<T*>(n.y), n.inverse_rms);
  });
}

void rms_norm_backward(const RmsNormBackward& n, Stream stream) {
  if (n.rows == 0 || n.width == 0) return;
  with_element(n.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    const auto *grad_y = static_cast<const T*>(n.grad_y), *x = static_cast<const T*>(n.x);
    launch(backward_kernel<T>, {static_cast<unsigned>(n.rows), block_threads, stream}, grad_y, x, n.weight,
           n.inverse_rms, static_cast<const T*>(n.grad_sum), n.width, static_cast<T*>(n.grad_x));
    if (n.grad_weight == nullptr) return;
    const int64_t chunks = rms_norm_chunks(n.rows), chunk = (n.rows + chunks - 1) / chunks;
    launch(weight_kernel<T>,
           {dim3(blocks_for(n.width), static_cast<unsigned>(chunks)), block_threads, stream}, grad_y, x,
           n.inverse_rms, n.rows, chunk, n.width, n.partial);
    launch(add_rows_kernel, {blocks_for(n.width), block_threads, stream}, n.partial, chunks, n.width,
           n.grad_weight);
  });
}

}  // namespace spa::kernels::cuda
