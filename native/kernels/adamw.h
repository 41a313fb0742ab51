// The optimiser's passes over flat parameter buffers.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "kernels/adamw_parameters.h"
#include "kernels/cpu/table.h"

namespace spa::kernels {

/// For the row kernels.
cpu::AdamWScalars adamw_scalars(const AdamWParameters& parameters);

/// Buffers of one update, all of the same size. float32, but for `parameter`, which is bfloat16 when there is
/// a master.
struct AdamWBuffers {
  at::Tensor parameter;
  at::Tensor gradient;
  at::Tensor first_moment;
  at::Tensor second_moment;
  at::Tensor master;  // float32 master weights of a bfloat16 parameter; else undefined
};

/// One AdamW update in place (Loshchilov & Hutter 2019, arXiv:1711.05101, as torch.optim.AdamW), all buffers
/// in one pass and one parallel region.
void adamw_(const std::vector<AdamWBuffers>& buffers, const AdamWParameters& parameters);

/// Sum of the squares of all elements, in double, added in an order that does not depend on the threads.
double squared_norm(const std::vector<at::Tensor>& tensors);

}  // namespace spa::kernels
