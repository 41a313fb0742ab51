#include "kernels/swiglu.h"

#include "kernels/cuda/operations.h"
#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

constexpr int64_t work_per_element = 8;  // the exponential, in multiply-adds

}  // namespace

at::Tensor swiglu(const at::Tensor& gate_up) {
  const int64_t width = gate_up.size(-1) / 2;
  const Path path = path_of(gate_up);
  if constexpr (has_cuda) {
    if (path == Path::cuda) return cuda::swiglu(gate_up);
  }
  if (path == Path::aten) return at::silu(gate_up.narrow(-1, 0, width)) * gate_up.narrow(-1, width, width);
  if (gate_up.scalar_type() == at::kBFloat16) {
    const at::Tensor source = gate_up.contiguous();
    const at::Tensor y = empty_bf16({source.size(0), width});
    parallel_rows(y.size(0), width * work_per_element, [&](int64_t begin, int64_t end) {
      cpu::table().swiglu_bf16(bf16_data(source) + begin * 2 * width, 2 * width,
                               mutable_bf16_data(y) + begin * width, width, end - begin, width);
    });
    return y;
  }
  const at::Tensor source = dense_float(gate_up);
  const at::Tensor y = empty_float({source.size(0), width});
  parallel_rows(y.size(0), width * work_per_element, [&](int64_t begin, int64_t end) {
    cpu::table().swiglu(source.const_data_ptr<float>() + begin * 2 * width, 2 * width,
                        y.mutable_data_ptr<float>() + begin * width, width, end - begin, width);
  });
  return y;
}

at::Tensor swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up) {
  const int64_t width = gate_up.size(-1) / 2;
  const Path path = path_of(gate_up);
  if constexpr (has_cuda) {
    if (path == Path::cuda) return cuda::swiglu_backward(grad, gate_up);
  }
  if (path == Path::aten) {
    const at::Tensor gate = gate_up.narrow(-1, 0, width), up = gate_up.narrow(-1, width, width);
    const at::Tensor s = at::sigmoid(gate);
    return at::cat({grad * up * s * (1 + gate * (1 - s)), grad * gate * s}, -1);
  }
  if (gate_up.scalar_type() == at::kBFloat16) {
    const at::Tensor source = gate_up.contiguous(), g = to_type(grad, at::kBFloat16).contiguous();
    const at::Tensor result = empty_bf16(source.sizes());
    parallel_rows(source.size(0), 2 * width * work_per_element, [&](int64_t begin, int64_t end) {
      cpu::table().swiglu_backward_bf16(
          bf16_data(g) + begin * width, width, bf16_data(source) + begin * 2 * width, 2 * width,
          mutable_bf16_data(result) + begin * 2 * width, 2 * width, end - begin, width);
    });
    return result;
  }
  const at::Tensor source = dense_float(gate_up), g = dense_float(grad);
  const at::Tensor result = empty_float(source.sizes());
  parallel_rows(source.size(0), 2 * width * work_per_element, [&](int64_t begin, int64_t end) {
    cpu::table().swiglu_backward(
        g.const_data_ptr<float>() + begin * width, width, source.const_data_ptr<float>() + begin * 2 * width,
        2 * width, result.mutable_data_ptr<float>() + begin * 2 * width, 2 * width, end - begin, width);
  });
  return result;
}

}  // namespace spa::kernels
