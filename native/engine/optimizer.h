// AdamW over a flat parameter buffer (Loshchilov & Hutter 2019, arXiv:1711.05101), with float32 master
// weights for bfloat16.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/weights.h"
#include "kernels/quantized_moments.h"

namespace spa {

/// How the moments are stored: 8 bytes a parameter, or 2 (see kernels/quantized_moments.h).
enum class MomentFormat { float32, int8 };

struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double weight_decay = 0.01;  // decoupled, on all parameters
  double epsilon = 1e-8;
};

/// Parameters that are updated together and count their updates together.
struct ParameterGroup {
  std::vector<ParameterRange> ranges;
  int64_t updates = 0;
};

class AdamW {
 public:
  /// `parameters` [size] float32 or bfloat16.
  AdamW(const at::Tensor& parameters, const AdamWOptions& options, std::vector<ParameterGroup> groups,
        MomentFormat format = MomentFormat::float32);

  /// One update of the groups named, from float32 `gradient` [size] times `gradient_scale`.
  void step(const at::Tensor& parameters, const at::Tensor& gradient, std::span<const size_t> groups,
            double learning_rate, double gradient_scale);

  /// The parts of a buffer [size] that belong to the groups named.
  std::vector<at::Tensor> select(const at::Tensor& buffer, std::span<const size_t> groups) const;

  /// Takes the master weights anew from parameters that someone else has changed.
  void reset_master(const at::Tensor& parameters);

  const AdamWOptions& options() const { return options_; }

  /// Moments (`exp_avg.<parameter>`, `exp_avg_sq.<parameter>`), master weights (`master.<parameter>`) and the
  /// groups' counts of updates (`updates`, [groups]): float32 views on the parameters' device. Quantised
  /// moments go by range, for their blocks know no parameters: `exp_avg.codes.<range>` (uint8),
  /// `exp_avg.scales.<range>`, and so for `exp_avg_sq`.
  std::vector<NamedTensor> export_state(const ParameterLayout& layout) const;
  /// Throws BAD_CHECKPOINT when names, shapes or values do not fit; changes nothing.
  void check_state(const ParameterLayout& layout, const std::vector<NamedTensor>& state) const;
  void import_state(const ParameterLayout& layout, const std::vector<NamedTensor>& state);

 private:
  /// A range's moments; its blocks begin with it.
  struct QuantizedRange {
    kernels::QuantizedMoment first, second;
  };

  void step_quantized(const at::Tensor& parameters, const at::Tensor& gradient, size_t group,
                      const kernels::AdamWParameters& settings);

  AdamWOptions options_;
  std::vector<ParameterGroup> groups_;
  std::vector<std::vector<QuantizedRange>> quantized_;  // by group and range; empty with float32 moments
  at::Tensor first_moment_, second_moment_;             // float32 [size]; undefined when quantised
  at::Tensor master_;                                   // float32 [size]; undefined for float32 parameters
};

}  // namespace spa
