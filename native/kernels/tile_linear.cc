#include "kernels/tile_linear.h"

#include <algorithm>

#include "kernels/dispatch.h"
#include "kernels/tile_operands.h"

namespace spa::kernels {
namespace {

using amx::Bf16;

constexpr int64_t depth_steps = tile_depth / amx::block;
// Rows of a weight gradient for which the incoming gradient is transposed at a time.
constexpr int64_t gradient_rows = 256;

}  // namespace

at::Tensor tile_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                       const at::Tensor& add, at::ScalarType type) {
  const int64_t rows = x.size(0), in = weight.size(1), out = weight.size(0);
  const at::Tensor y = at::detail::empty_cpu({rows, out}, type);
  if constexpr (has_amx) {
    // y^T = W x^T: the weight is read as it lies, and what has to be put into panels are the activations.
    const at::Tensor input = dense_rows(x), added = add.defined() ? dense_rows(add) : add;
    const at::Tensor offset = bias.defined() ? bias.contiguous() : bias;
    const PanelStorage operand = make_panels(in, rows, [&](int64_t begin, int64_t end, Bf16* target) {
      amx::fill_panels_transposed(bf16_data(input), input.stride(0), in, rows, begin, end, target);
    });
    const int64_t ld_add = added.defined() ? added.stride(0) : 0;
    parallel_blocks(out, in * rows, [&](int64_t first, int64_t count) {
      const Bf16* a = bf16_data(weight) + first * in;
      const Bf16* own_bias = offset.defined() ? bf16_data(offset) + first : nullptr;
      const Bf16* own_add = added.defined() ? bf16_data(added) + first : nullptr;
      if (type == at::kFloat) {
        amx::multiply(
            a, in, count, operand.panels(), operand.steps,
            amx::Transposed<float>{y.mutable_data_ptr<float>() + first, out, own_bias, own_add, ld_add});
      } else {
        auto* target = mutable_bf16_data(y) + first;
        amx::multiply(a, in, count, operand.panels(), operand.steps,
                      amx::Transposed<Bf16>{target, out, own_bias, own_add, ld_add});
      }
    });
  }
  return y;
}

at::Tensor tile_input_gradient(const at::Tensor& grad, const at::Tensor& weight) {
  const int64_t rows = grad.size(0), out = weight.size(0), in = weight.size(1);
  const at::Tensor result = empty_bf16({rows, in});
  if constexpr (has_amx) {
    const at::Tensor g = dense_rows(grad);
    const int64_t steps = amx::blocks_of(out);
    const at::Tensor sums =
        steps > depth_steps ? at::detail::empty_cpu({rows, in}, at::kFloat) : at::Tensor{};
    for (int64_t step = 0; step < steps; step += depth_steps) {
      const int64_t first_out = step * amx::block, depth = std::min(tile_depth, out - first_out);
      const PanelStorage operand = make_panels(depth, in, [&](int64_t begin, int64_t end, Bf16* target) {
        amx::fill_panels(bf16_data(weight) + first_out * in, in, depth, in, begin, end, target);
      });
      parallel_blocks(rows, in * depth, [&](int64_t first, int64_t count) {
        const Bf16* a = bf16_data(g) + first * g.stride(0) + first_out;
        float* own_sums = sums.defined() ? sums.mutable_data_ptr<float>() + first * in : nullptr;
        if (step + depth_steps < steps) {
          amx::multiply(a, g.stride(0), count, operand.panels(), operand.steps,
                        amx::Sums{own_sums, in, step > 0});
        } else {
          auto* target = mutable_bf16_data(result) + first * in;
          amx::multiply(a, g.stride(0), count, operand.panels(), operand.steps,
                        amx::Rounded{target, in, step > 0 ? own_sums : nullptr, in});
        }
      });
    }
  }
  return result;
}

void tile_weight_gradient(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& grad_weight) {
  if constexpr (has_amx) {
    const at::Tensor g = dense_rows(grad), input = dense_rows(x);
    const int64_t rows = g.size(0), out = g.size(1), in = input.size(1);
    float* target = grad_weight.mutable_data_ptr<float>();
    for (int64_t begin_row = 0; begin_row < rows; begin_row += tile_depth) {
      const int64_t depth = std::min(tile_depth, rows - begin_row);
      const PanelStorage operand = make_panels(depth, in, [&](int64_t begin, int64_t end, Bf16* panels) {
        amx::fill_panels(bf16_data(input) + begin_row * input.stride(0), input.stride(0), depth, in, begin,
                         end, panels);
      });
      // One block more than the depth: rows a power of two apart would share their place in the caches.
      const int64_t ld = (operand.steps + 1) * amx::block;
      parallel_blocks(out, in * depth, [&](int64_t first, int64_t count) {
        const at::Tensor turned = empty_bf16({std::min(count, gradient_rows) * ld});
        auto* a = mutable_bf16_data(turned);
        for (int64_t i = first; i < first + count; i += gradient_rows) {
          const int64_t m = std::min(gradient_rows, first + count - i);
          amx::transpose(bf16_data(g) + begin_row * g.stride(0) + i, g.stride(0), depth, m, a, ld);
          amx::multiply(a, ld, m, operand.panels(), operand.steps, amx::Sums{target + i * in, in, true});
        }
      });
    }
  }
}

}  // namespace spa::kernels
