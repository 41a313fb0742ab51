#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
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

void dropout(const Dropout& d, Stream stream) {
  const int64_t groups = d.rows * ((d.width + 3) / 4);
  if (groups == 0) return;
  with_element(d.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch(dropout_kernel<T>, {blocks_for(groups), block_threads, stream}, static_cast<const T*>(d.x),
           d.numbers, d.rows, d.width, d.mask, static_cast<T*>(d.y));
  });
}

}  // namespace spa::kernels::cuda
