#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/dropout_mask.h"

namespace spa::kernels::cuda {
namespace {

/// One thread four elements of a row: one Philox block.
template <typename T>
__global__ void dropout_kernel(const T* x, const int64_t* numbers, int64_t rows, int64_t width,
                               DropoutMask mask, T* y) {
  const int64_t groups = (width + 3) / 4;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i >= rows * groups) return;
  const int64_t row = i / groups, group = i % groups;
  const PhiloxBlock block = philox4x32(mask.seed, DropoutMask::counter(numbers[row], group), mask.stream);
  for (int64_t k = 0; k < 4 && group * 4 + k < width; ++k) {
    const int64_t at = row * width + group * 4 + k;
    y[at] = narrow<T>(block.word[k] >= mask.threshold ? widen(x[at]) * mask.factor : 0.0f);
  }
}

}  // namespace

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const DropoutKey& key) {
  const c10::cuda::CUDAGuard guard(x.device());
  const at::Tensor source = x.contiguous();
  const int64_t width = source.size(1), groups = source.size(0) * ((width + 3) / 4);
  const at::Tensor y = at::empty_like(source);
  if (groups == 0) return y;
  const DropoutMask mask(key.seed, key.stream, key.probability);
  with_element(source, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    dropout_kernel<T><<<blocks_for(groups), block_threads, 0, current_stream()>>>(
        data_of<T>(source), data_of<int64_t>(rows), source.size(0), width, mask, data_of<T>(y));
  });
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return y;
}

}  // namespace spa::kernels::cuda
