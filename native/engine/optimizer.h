// AdamW over a flat parameter buffer (Loshchilov & Hutter 2019, arXiv:1711.05101), with float32 master weights for bfloat16.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engine/weights.h"

namespace spa {

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double weight_decay = 0.01;  // decoupled, on all parameters
  double epsilon = 1e-8;

  /// Throws BAD_ARGUMENT.
  void validate() const;
};

/// A half-open range of elements of the flat buffer.
struct ParameterRange {
  int64_t begin = 0;
  int64_t end = 0;
};

class AdamW {
 public:
  AdamW(const at::Tensor& parameters, const AdamWOptions& options);

  /// One update of `ranges` of `parameters` from float32 `gradient` (both [size]), the gradient scaled by `gradient_scale` first.
  void step(const at::Tensor& parameters, const at::Tensor& gradient, const std::vector<ParameterRange>& ranges,
            double learning_rate, double gradient_scale);

  const AdamWOptions& options() const { return options_; }
  int64_t step_count() const { return step_; }
  void set_step_count(int64_t step) { step_ = step; }
  const at::Tensor& first_moment() const { return first_moment_; }    // float32 [size]
  const at::Tensor& second_moment() const { return second_moment_; }  // float32 [size]
  const at::Tensor& master() const { return master_; }                // float32 [size]; undefined for float32 parameters

 private:
  AdamWOptions options_;
  int64_t step_ = 0;
  at::Tensor first_moment_, second_moment_, master_;
};

}  // namespace spa
