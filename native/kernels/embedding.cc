#include "kernels/embedding.h"

#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {

at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens) {
  if (path_of(weight) != Path::cpu || weight.scalar_type() != at::kFloat || !weight.is_contiguous()) {
    return weight.index_select(0, tokens);
  }
  const int64_t width = weight.size(1), count = tokens.size(0);
  const at::Tensor result = empty_float({count, width});
  const int64_t* ids = tokens.const_data_ptr<int64_t>();
  const float* source = weight.const_data_ptr<float>();
  float* target = result.mutable_data_ptr<float>();
  parallel_rows(count, width, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) std::copy_n(source + ids[i] * width, width, target + i * width);
  });
  return result;
}

void accumulate_embedding_gradient(const at::Tensor& grad, const at::Tensor& tokens,
                                   const at::Tensor& grad_weight) {
  if (path_of(grad) != Path::cpu || !grad_weight.is_contiguous()) {
    grad_weight.index_add_(0, tokens, grad.to(grad_weight.scalar_type()));
    return;
  }
  const at::Tensor rows = dense_float(grad);
  const int64_t width = rows.size(1);
  // Threads share out the columns, so that each sum runs in token order.
  constexpr int64_t column_block = 32;
  const int64_t blocks = (width + column_block - 1) / column_block;
  const int64_t* ids = tokens.const_data_ptr<int64_t>();
  parallel_rows(blocks, rows.size(0) * column_block, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * column_block;
    const int64_t columns = std::min(width, end * column_block) - first;
    for (int64_t i = 0; i < rows.size(0); ++i) {
      cpu::table().add(rows.const_data_ptr<float>() + i * width + first,
                       grad_weight.mutable_data_ptr<float>() + ids[i] * width + first, columns);
    }
  });
}

}  // namespace spa::kernels
