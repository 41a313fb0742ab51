// Settings of an AdamW update, apart from tensors.
#pragma once

#include <cstdint>

namespace spa::kernels {

struct AdamWParameters {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay =
      0.01;          // decoupled: the parameter is first multiplied by 1 - learning_rate * weight_decay
  int64_t step = 1;  // of this update, from 1
  double gradient_scale = 1.0;  // gradients are multiplied by it first
};

}  // namespace spa::kernels
