#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spa::kernels::cuda {
namespace {

/// One thread a pair of elements.
template <typename T>
__global__ void rope_kernel(T* x, int64_t ld, int64_t rows, int64_t heads, int64_t half, const float* cosine,
                            const float* sine, const int64_t* positions, float direction) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i >= rows * heads * half) return;
  const int64_t j = i % half, head = i / half % heads, row = i / (half * heads);
  T* low = x + row * ld + head * 2 * half + j;
  T* high = low + half;
  const int64_t at = positions[row] * half + j;
  const float c = cosine[at], s = sine[at] * direction;
  const float a = widen(*low), b = widen(*high);
  *low = narrow<T>(a * c - b * s);
  *high = narrow<T>(b * c + a * s);
}

}  // namespace

void rope(const Rope& r, Stream stream) {
  const int64_t half = r.head_dim / 2, pairs = r.rows * r.heads * half;
  if (pairs == 0) return;
  with_element(r.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch(rope_kernel<T>, {blocks_for(pairs), block_threads, stream}, static_cast<T*>(r.x), r.ld, r.rows,
           r.heads, half, r.cosine, r.sine, r.positions, r.direction);
  });
}

}  // namespace spa::kernels::cuda
