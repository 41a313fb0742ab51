#include "kernels/linear.h"

#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"
#include "kernels/tile_linear.h"

namespace spa::kernels {
namespace {

/// Two-dimensional float32 view or copy with dense rows.
at::Tensor float_rows(const at::Tensor& x) {
  const at::Tensor rows = to_type(x.dim() == 2 ? x : x.reshape({-1, x.size(-1)}), at::kFloat);
  return rows.stride(1) == 1 || rows.size(1) <= 1 ? rows : rows.contiguous();
}

/// rows [rows, last] in the type and leading dimensions of x.
at::Tensor shaped_like(const at::Tensor& rows, const at::Tensor& x) {
  const at::Tensor result = to_type(rows, x.scalar_type());
  if (x.dim() == 2) return result;
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = rows.size(1);
  return result.view(sizes);
}

/// Two-dimensional view of x, or a copy.
at::Tensor rows_of(const at::Tensor& x) { return x.dim() == 2 ? x : x.reshape({-1, x.size(-1)}); }

const float* data_or_null(const at::Tensor& x) { return x.defined() ? x.const_data_ptr<float>() : nullptr; }

}  // namespace

PanelWeight::PanelWeight(const at::Tensor& weight)
    : out_features_(weight.size(0)), in_features_(weight.size(1)) {
  const at::Tensor rows = float_rows(weight);
  storage_ = empty_float({cpu::panel_elements(in_features_, out_features_)});
  cpu::table().fill_panels(rows.const_data_ptr<float>(), rows.stride(0), out_features_, in_features_,
                           storage_.mutable_data_ptr<float>());
}

cpu::PanelMatrix PanelWeight::view() const {
  return {storage_.const_data_ptr<float>(), in_features_, out_features_};
}

at::Tensor linear(const at::Tensor& x, const PanelWeight& weight, const at::Tensor& bias,
                  const at::Tensor& add) {
  const at::Tensor rows = float_rows(x);
  const at::Tensor offset = bias.defined() ? dense_float(bias) : bias;
  const at::Tensor added = add.defined() ? float_rows(add) : add;
  const int64_t out = weight.out_features();
  const at::Tensor y = empty_float({rows.size(0), out});
  const cpu::PanelMatrix matrix = weight.view();
  const float* source = rows.const_data_ptr<float>();
  const float* bias_data = data_or_null(offset);
  const float* add_data = data_or_null(added);
  const int64_t ld_add = add.defined() ? added.stride(0) : 0;
  float* target = y.mutable_data_ptr<float>();
  parallel_rows(rows.size(0), matrix.depth * out, [&](int64_t begin, int64_t end) {
    cpu::table().linear(source + begin * rows.stride(0), rows.stride(0), matrix, bias_data,
                        add_data ? add_data + begin * ld_add : nullptr, ld_add, target + begin * out, out,
                        end - begin);
  });
  return shaped_like(y, x);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  const at::Tensor& add) {
  const Product product = product_of(x, weight);
  if (product == Product::rows) return linear(x, PanelWeight(weight), bias, add);
  if (product == Product::tiles) {
    return shaped_like(
        tile_linear(rows_of(x), weight, bias, add.defined() ? rows_of(add) : add, at::kBFloat16), x);
  }
  const at::Tensor y = bias.defined() ? at::linear(x, weight, bias) : at::linear(x, weight);
  return add.defined() ? y.add_(add) : y;
}

void add_linear_(const at::Tensor& y, const at::Tensor& x, const PanelWeight& weight) {
  if (y.scalar_type() != at::kFloat || y.stride(1) != 1) {
    y.add_(linear(x, weight));
    return;
  }
  const at::Tensor rows = float_rows(x);
  const cpu::PanelMatrix matrix = weight.view();
  const float* source = rows.const_data_ptr<float>();
  float* target = y.mutable_data_ptr<float>();
  const int64_t ldx = rows.stride(0), ldy = y.stride(0);
  parallel_rows(rows.size(0), matrix.depth * matrix.columns, [&](int64_t begin, int64_t end) {
    float* own = target + begin * ldy;
    cpu::table().linear(source + begin * ldx, ldx, matrix, nullptr, own, ldy, own, ldy, end - begin);
  });
}

void add_linear_(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight) {
  if (product_of(x, weight) == Product::rows) return add_linear_(y, x, PanelWeight(weight));
  y.addmm_(x, weight.t());
}

at::Tensor wide_linear(const at::Tensor& x, const at::Tensor& weight) {
  const at::ScalarType type = wide_type(x);
  if (product_of(x, weight) == Product::tiles) return tile_linear(x, weight, {}, {}, type);
  // cuBLAS adds up in float32: what it gives need not be rounded first.
  if (path_of(x) == Path::cuda && x.scalar_type() == at::kBFloat16 && weight.scalar_type() == at::kBFloat16)
    return at::mm(x, weight.t(), type);
  return to_type(kernels::linear(x, weight), type).contiguous();
}

at::Tensor linear_input_gradient(const at::Tensor& grad, const at::Tensor& weight) {
  const Product product = product_of(grad, weight);
  if (product == Product::tiles) return shaped_like(tile_input_gradient(rows_of(grad), weight), grad);
  if (product == Product::aten) return at::matmul(grad, weight);
  const at::Tensor rows = float_rows(grad);
  const at::Tensor matrix = float_rows(weight);
  const int64_t out = matrix.size(0), in = matrix.size(1);
  const at::Tensor result = empty_float({rows.size(0), in});
  const float* source = rows.const_data_ptr<float>();
  const float* weights = matrix.const_data_ptr<float>();
  float* target = result.mutable_data_ptr<float>();
  parallel_rows(rows.size(0), in * out, [&](int64_t begin, int64_t end) {
    cpu::table().gemm(end - begin, in, out, source + begin * rows.stride(0), rows.stride(0), 1, weights,
                      matrix.stride(0), target + begin * in, in, false);
  });
  return shaped_like(result, grad);
}

namespace {

/// Each thread owns some output features and runs over all rows: nothing to reduce, one order of additions.
void accumulate_by_rows(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& grad_weight,
                        const at::Tensor& grad_bias) {
  const at::Tensor g = float_rows(grad), input = float_rows(x);
  const int64_t rows = g.size(0), out = g.size(1), in = input.size(1);
  const float* gradients = g.const_data_ptr<float>();
  const float* inputs = input.const_data_ptr<float>();
  float* weight_target = grad_weight.defined() ? grad_weight.mutable_data_ptr<float>() : nullptr;
  float* bias_target = grad_bias.defined() ? grad_bias.mutable_data_ptr<float>() : nullptr;
  parallel_rows(out, rows * in, [&](int64_t begin, int64_t end) {
    if (weight_target) {
      cpu::table().gemm(end - begin, in, rows, gradients + begin, 1, g.stride(0), inputs, input.stride(0),
                        weight_target + begin * in, in, true);
    }
    if (bias_target)
      cpu::table().add_rows(gradients + begin, g.stride(0), rows, end - begin, bias_target + begin);
  });
}

/// grad_weight [out, in] += g^T input. Operands of another type than the gradient's are multiplied in theirs:
/// of some output features at a time.
void aten_weight_gradient(const at::Tensor& g, const at::Tensor& input, const at::Tensor& grad_weight) {
  if (g.scalar_type() == grad_weight.scalar_type()) {
    grad_weight.addmm_(g.t(), input);
    return;
  }
  const int64_t out = g.size(1), step = std::max<int64_t>(1, summand_elements / input.size(1));
  for (int64_t begin = 0; begin < out; begin += step) {
    const int64_t count = std::min(step, out - begin);
    grad_weight.narrow(0, begin, count).add_(at::mm(g.narrow(1, begin, count).t(), input));
  }
}

}  // namespace

void accumulate_linear_gradient(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& grad_weight,
                                const at::Tensor& grad_bias) {
  const int64_t out = grad.size(-1), in = x.size(-1);
  const Product product = product_of(out, in, x.scalar_type(), x.device());
  const bool dense = !grad_weight.defined() || grad_weight.is_contiguous();
  if (product == Product::rows && dense) {
    accumulate_by_rows(grad, x, grad_weight, grad_bias);
    return;
  }
  const at::Tensor g = grad.reshape({-1, out});
  if (grad_bias.defined()) grad_bias.add_(g.sum(0, false, grad_bias.scalar_type()));
  if (!grad_weight.defined()) return;
  const at::Tensor input = x.reshape({-1, in});
  if (product == Product::tiles && dense && g.scalar_type() == at::kBFloat16 &&
      grad_weight.scalar_type() == at::kFloat) {
    tile_weight_gradient(g, input, grad_weight);
  } else {
    aten_weight_gradient(g, input, grad_weight);
  }
}

}  // namespace spa::kernels
