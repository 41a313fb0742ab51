#include "kernels/rms_norm.h"

#include "kernels/cuda/operations.h"
#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

constexpr int64_t partial_rows = 256;  // rows whose weight gradients are summed before the partial sums are

int64_t row_count(const at::Tensor& x) { return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1); }

RmsNormResult aten_rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor v = x.to(wide_type(x));
  const at::Tensor inverse = at::rsqrt(v.square().mean(-1, true).add_(epsilon));
  return {(v * inverse * weight.to(wide_type(x))).to(x.scalar_type()), inverse.reshape({-1})};
}

RmsNormResult cpu_rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor w = dense_float(weight);
  const int64_t width = x.size(-1), rows = row_count(x);
  const at::Tensor output = empty_float(x.sizes());
  const at::Tensor inverse = empty_float({rows});
  parallel_rows(rows, width * 2, [&](int64_t begin, int64_t end) {
    cpu::table().rms_norm(x.const_data_ptr<float>() + begin * width, width, w.const_data_ptr<float>(),
                          static_cast<float>(epsilon), output.mutable_data_ptr<float>() + begin * width,
                          width, inverse.mutable_data_ptr<float>() + begin, end - begin, width);
  });
  return {output, inverse};
}

RmsNormResult cpu_rms_norm_bf16(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const at::Tensor w = dense_float(weight);
  const int64_t width = x.size(-1), rows = row_count(x);
  const at::Tensor output = empty_bf16(x.sizes());
  const at::Tensor inverse = empty_float({rows});
  parallel_rows(rows, width * 2, [&](int64_t begin, int64_t end) {
    cpu::table().rms_norm_bf16(bf16_data(x) + begin * width, width, w.const_data_ptr<float>(),
                               static_cast<float>(epsilon), mutable_bf16_data(output) + begin * width, width,
                               inverse.mutable_data_ptr<float>() + begin, end - begin, width);
  });
  return {output, inverse};
}

}  // namespace

RmsNormResult rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  if constexpr (has_cuda) {
    if (path_of(x) == Path::cuda) return cuda::rms_norm(x, weight, epsilon);
  }
  if (path_of(x) == Path::aten) return aten_rms_norm(x, weight, epsilon);
  if (x.scalar_type() == at::kBFloat16) return cpu_rms_norm_bf16(x.contiguous(), weight, epsilon);
  return cpu_rms_norm(x.contiguous(), weight, epsilon);
}

at::Tensor head_norms_(const at::Tensor& x, int64_t heads, int64_t kv_heads, const at::Tensor& query_weight,
                       const at::Tensor& key_weight, double epsilon) {
  const int64_t tokens = x.size(0), dim = query_weight.size(0), all = heads + kv_heads;
  const at::Tensor inverse = at::empty({tokens, all}, x.options().dtype(wide_type(x)));
  if (path_of(x) != Path::cpu) {
    const at::Tensor view = x.narrow(1, 0, all * dim).unflatten(1, {all, dim});
    const auto normalise = [&](int64_t first, int64_t count, const at::Tensor& weight) {
      const at::Tensor part = view.narrow(1, first, count);
      const RmsNormResult norm = rms_norm(part.contiguous(), weight, epsilon);
      part.copy_(norm.output);
      inverse.narrow(1, first, count).copy_(norm.inverse_rms.view({tokens, count}));
    };
    normalise(0, heads, query_weight);
    normalise(heads, kv_heads, key_weight);
    return inverse;
  }
  if (x.scalar_type() != at::kFloat) {
    const at::Tensor part = x.narrow(1, 0, all * dim), widened = dense_float(part);
    const at::Tensor result = head_norms_(widened, heads, kv_heads, query_weight, key_weight, epsilon);
    part.copy_(widened);
    return result;
  }
  const at::Tensor q = dense_float(query_weight), k = dense_float(key_weight);
  float* data = x.mutable_data_ptr<float>();
  auto* factors = inverse.mutable_data_ptr<float>();
  parallel_rows(tokens, all * dim * 2, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* row = data + t * x.stride(0);
      const auto normalise = [&](int64_t first, int64_t count, const at::Tensor& weight) {
        float* at = row + first * dim;
        cpu::table().rms_norm(at, dim, weight.const_data_ptr<float>(), static_cast<float>(epsilon), at, dim,
                              factors + t * all + first, count, dim);
      };
      normalise(0, heads, q);
      normalise(heads, kv_heads, k);
    }
  });
  return inverse;
}

namespace {

at::Tensor aten_backward(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                         const at::Tensor& inverse_rms, const at::Tensor& grad_sum,
                         const at::Tensor& grad_weight) {
  const int64_t width = x.size(-1);
  const at::Tensor inverse = inverse_rms.to(wide_type(x)).view({-1, 1});
  const at::Tensor normal = x.to(wide_type(x)).reshape({-1, width}) * inverse;
  const at::Tensor grad = grad_output.to(wide_type(x)).reshape({-1, width});
  if (grad_weight.defined()) grad_weight.add_((grad * normal).sum(0));
  const at::Tensor g = grad * weight.to(wide_type(x));
  at::Tensor result = (g - normal * (g * normal).mean(1, true)) * inverse;
  result = result.to(x.scalar_type()).view(x.sizes());
  return grad_sum.defined() ? result.add_(grad_sum) : result;
}

}  // namespace

at::Tensor rms_norm_backward(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& inverse, const at::Tensor& grad_sum,
                             const at::Tensor& grad_weight) {
  const at::Tensor inverse_rms = inverse.contiguous();
  if constexpr (has_cuda) {
    if (path_of(x) == Path::cuda) {
      return cuda::rms_norm_backward(grad_output, x, weight, inverse_rms, grad_sum, grad_weight);
    }
  }
  if (path_of(x) == Path::aten)
    return aten_backward(grad_output, x, weight, inverse_rms, grad_sum, grad_weight);
  const at::ScalarType type = x.scalar_type();
  const at::Tensor grad = to_type(grad_output, type).contiguous(), input = x.contiguous(),
                   w = dense_float(weight);
  const at::Tensor past = grad_sum.defined() ? to_type(grad_sum, type).contiguous() : grad_sum;
  const int64_t width = x.size(-1), rows = row_count(x);
  const int64_t blocks = (rows + partial_rows - 1) / partial_rows;
  const at::Tensor result = at::detail::empty_cpu(x.sizes(), type);
  const at::Tensor partial = empty_float({blocks, width});
  parallel_rows(blocks, partial_rows * width * 4, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * partial_rows, count = std::min(partial_rows, rows - first);
      float* block_sum = partial.mutable_data_ptr<float>() + block * width;
      std::fill_n(block_sum, width, 0.0f);
      if (type == at::kBFloat16) {
        const int64_t at = first * width;
        const cpu::Bf16* own_past = past.defined() ? bf16_data(past) + at : nullptr;
        cpu::table().rms_norm_backward_bf16(bf16_data(grad) + at, width, bf16_data(input) + at, width,
                                            w.const_data_ptr<float>(),
                                            inverse_rms.const_data_ptr<float>() + first, own_past, width,
                                            mutable_bf16_data(result) + at, width, block_sum, count, width);
      } else {
        const int64_t at = first * width;
        const float* own_past = past.defined() ? past.const_data_ptr<float>() + at : nullptr;
        cpu::table().rms_norm_backward(grad.const_data_ptr<float>() + at, width,
                                       input.const_data_ptr<float>() + at, width, w.const_data_ptr<float>(),
                                       inverse_rms.const_data_ptr<float>() + first, own_past, width,
                                       result.mutable_data_ptr<float>() + at, width, block_sum, count, width);
      }
    }
  });
  if (grad_weight.defined()) {
    cpu::table().add_rows(partial.const_data_ptr<float>(), width, blocks, width,
                          grad_weight.mutable_data_ptr<float>());
  }
  return result;
}

}  // namespace spa::kernels
