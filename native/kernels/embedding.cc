#include "kernels/embedding.h"

#include "kernels/dispatch.h"
#include "kernels/parallel.h"

namespace spa::kernels {

at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens) {
  return weight.index_select(0, tokens);
}

void accumulate_embedding_gradient(const at::Tensor& grad, const at::Tensor& tokens,
                                   const at::Tensor& grad_weight) {
  if (path_of(grad) != Path::cpu || !grad_weight.is_contiguous()) {
    grad_weight.index_add_(0, tokens, grad.to(grad_weight.scalar_type()));
    return;
  }
  const at::Tensor rows = grad.to(at::kFloat).contiguous();
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
