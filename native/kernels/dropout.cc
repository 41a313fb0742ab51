#include "kernels/dropout.h"

#include "kernels/cuda/launch.h"
#include "kernels/dispatch.h"
#include "kernels/dropout_mask.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

constexpr int64_t work_per_element = 16;  // a quarter of a Philox block, in multiply-adds

/// 0 or 1 / (1 - probability) for each element: float32 [T, width] on the CPU.
at::Tensor factors(const at::Tensor& rows, int64_t width, const DropoutKey& key) {
  const at::Tensor result = empty_float({rows.size(0), width});
  const DropoutMask mask(key.seed, key.stream, key.probability);
  const int64_t* numbers = rows.const_data_ptr<int64_t>();
  float* target = result.mutable_data_ptr<float>();
  parallel_rows(rows.size(0), width * work_per_element, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < width; j += 4) {
        float block[4];
        mask.factors(numbers[i], j / 4, block);
        for (int64_t k = 0; k < std::min<int64_t>(4, width - j); ++k) target[i * width + j + k] = block[k];
      }
    }
  });
  return result;
}

}  // namespace

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const DropoutKey& key) {
  if constexpr (has_cuda) {
    if (path_of(x) == Path::cuda) return cuda::dropout(x, rows, key);
  }
  // Elsewhere the factors are made on the CPU, from the same counters.
  return x * factors(rows.cpu(), x.size(1), key).to(x.options());
}

}  // namespace spa::kernels
