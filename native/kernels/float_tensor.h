// Operands and results of the CPU paths, without a trip through the dispatcher where nothing has to
// be done: at decode sizes such trips would cost as much as the kernels.
#pragma once

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>

#include "kernels/cpu/table.h"

namespace spa::kernels {

/// `x` in `type`; x itself when it has that type.
inline at::Tensor to_type(const at::Tensor& x, at::ScalarType type) {
  return x.scalar_type() == type ? x : x.to(type);
}

/// What is computed in where ATen does it: float64 for float64, else float32.
inline at::ScalarType wide_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

/// x as dense float32.
inline at::Tensor dense_float(const at::Tensor& x) { return to_type(x, at::kFloat).contiguous(); }

/// The elements of a bfloat16 tensor on the CPU; null for an undefined one.
inline const cpu::Bf16* bf16_data(const at::Tensor& x) {
  return x.defined() ? static_cast<const cpu::Bf16*>(x.const_data_ptr()) : nullptr;
}
inline cpu::Bf16* mutable_bf16_data(const at::Tensor& x) {
  return static_cast<cpu::Bf16*>(x.mutable_data_ptr());
}

/// An uninitialised bfloat16 tensor on the CPU.
inline at::Tensor empty_bf16(at::IntArrayRef sizes) { return at::detail::empty_cpu(sizes, at::kBFloat16); }

/// An uninitialised float32 tensor on the CPU.
inline at::Tensor empty_float(at::IntArrayRef sizes) { return at::detail::empty_cpu(sizes, at::kFloat); }

}  // namespace spa::kernels
