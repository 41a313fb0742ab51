#include "kernels/dropout.h"

#include "kernels/cuda/operations.h"
#include "kernels/dispatch.h"
#include "kernels/dropout_mask.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

constexpr int64_t work_per_element = 8;  // a quarter of a Philox block, in multiply-adds

/// x float32 on the CPU, dense.
at::Tensor cpu_dropout(const at::Tensor& x, const at::Tensor& rows, const DropoutMask& mask) {
  const at::Tensor y = empty_float(x.sizes());
  const int64_t width = x.size(1);
  const int64_t* numbers = rows.const_data_ptr<int64_t>();
  const float* source = x.const_data_ptr<float>();
  float* target = y.mutable_data_ptr<float>();
  parallel_rows(x.size(0), width * work_per_element, [&](int64_t begin, int64_t end) {
    cpu::table().dropout(source + begin * width, width, numbers + begin, mask, target + begin * width, width,
                         end - begin, width);
  });
  return y;
}

}  // namespace

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const DropoutKey& key) {
  const Path path = path_of(x);
  if constexpr (has_cuda) {
    if (path == Path::cuda) return cuda::dropout(x, rows, key);
  }
  const DropoutMask mask(key.seed, key.stream, key.probability);
  if (path == Path::cpu) return to_type(cpu_dropout(dense_float(x), rows, mask), x.scalar_type());
  // Elsewhere the factors are made on the CPU, from the same counters.
  return x * cpu_dropout(at::ones(x.sizes(), at::kFloat), rows.cpu(), mask).to(x.options());
}

}  // namespace spa::kernels
