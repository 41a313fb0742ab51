// SwiGLU activation (Shazeer 2020, arXiv:2002.05202) on a fused gate | up projection.
#pragma once

#include <ATen/ATen.h>

namespace spa::kernels {

/// y [tokens, width] = silu(gate) * up for gate_up [tokens, 2 * width], gate in the first half of each row.
at::Tensor swiglu(const at::Tensor& gate_up);

/// d loss / d gate_up [tokens, 2 * width] from grad [tokens, width].
at::Tensor swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up);

}  // namespace spa::kernels
