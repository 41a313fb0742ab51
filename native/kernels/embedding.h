// Rows of an embedding table, and the gradient of the table.
#pragma once

#include <ATen/ATen.h>

namespace spa::kernels {

/// [tokens, width] = weight [vocab, width] at tokens (int64 [tokens]).
at::Tensor embedding(const at::Tensor& weight, const at::Tensor& tokens);

/// grad_weight [vocab, width] (float32, or float64 with float64 operands) += the rows of grad [tokens,
/// width], added in token order whatever the threads.
void accumulate_embedding_gradient(const at::Tensor& grad, const at::Tensor& tokens,
                                   const at::Tensor& grad_weight);

}  // namespace spa::kernels
