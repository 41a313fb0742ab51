// y = x W^T + b, and its gradients.
#pragma once

#include <ATen/ATen.h>

#include "kernels/cpu/table.h"

namespace spa::kernels {

/// Elements of a weight gradient's summand that exist at a time in another type than the gradient's.
constexpr int64_t summand_elements = int64_t{1} << 23;

/// A weight W [out, in] in the panels of the CPU micro-kernels (float32; bfloat16 weights are widened). Made
/// once per weight version.
class PanelWeight {
 public:
  PanelWeight() = default;
  /// `weight` [out, in] on the CPU, float32 or bfloat16; later changes of it are not seen.
  explicit PanelWeight(const at::Tensor& weight);

  bool defined() const { return storage_.defined(); }
  int64_t out_features() const { return out_features_; }
  int64_t in_features() const { return in_features_; }
  /// For Table::linear; valid as long as this object lives.
  cpu::PanelMatrix view() const;

 private:
  at::Tensor storage_;
  int64_t out_features_ = 0;
  int64_t in_features_ = 0;
};

/// y [..., out] = x [..., in] W^T (+ bias [out]) (+ add [..., out]) in x's dtype. bias and add may be
/// undefined tensors.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {},
                  const at::Tensor& add = {});
/// The same from a weight in panels; x float32 or bfloat16 on the CPU.
at::Tensor linear(const at::Tensor& x, const PanelWeight& weight, const at::Tensor& bias = {},
                  const at::Tensor& add = {});

/// y [T, out] += x [T, in] W^T, where y may be columns of a wider matrix.
void add_linear_(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight);
/// The same from a weight in panels.
void add_linear_(const at::Tensor& y, const at::Tensor& x, const PanelWeight& weight);

/// x [rows, in] W^T in float32 (float64 for float64), dense: logits, whose small differences must stay.
at::Tensor wide_linear(const at::Tensor& x, const at::Tensor& weight);

/// d loss / d x [..., in] from grad [..., out].
at::Tensor linear_input_gradient(const at::Tensor& grad, const at::Tensor& weight);

/// grad_weight [out, in] += grad^T x and grad_bias [out] += sum of grad's rows. Either may be undefined
/// (skipped). They are float32 (or float64 with float64 operands), so that micro-batches add up exactly. The
/// result does not depend on the number of threads.
void accumulate_linear_gradient(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& grad_weight,
                                const at::Tensor& grad_bias = {});

}  // namespace spa::kernels
