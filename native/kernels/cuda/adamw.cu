#include <cmath>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spa::kernels::cuda {
namespace {

struct Scalars {
  float decay;      // 1 - learning_rate * weight_decay
  float step_size;  // learning_rate / (1 - beta1^step)
  float root;       // 1 / sqrt(1 - beta2^step)
  float beta1, beta2, epsilon, gradient_scale;
};

/// One thread an element. `rounded` (may be null) receives the parameter in bfloat16.
__global__ void adamw_kernel(float* parameter, const float* gradient, float* first, float* second,
                             __nv_bfloat16* rounded, Scalars s, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (i >= n) return;
  const float g = gradient[i] * s.gradient_scale;
  const float m = first[i] * s.beta1 + g * (1.0f - s.beta1);
  const float v = second[i] * s.beta2 + g * g * (1.0f - s.beta2);
  const float p = parameter[i] * s.decay - s.step_size * m / (sqrtf(v) * s.root + s.epsilon);
  first[i] = m;
  second[i] = v;
  parameter[i] = p;
  if (rounded) rounded[i] = __float2bfloat16_rn(p);
}

}  // namespace

void adamw(const AdamW& buffers, const AdamWParameters& parameters, Stream stream) {
  if (buffers.size == 0) return;
  const auto step = static_cast<double>(parameters.step);
  const Scalars scalars{
      static_cast<float>(1.0 - parameters.learning_rate * parameters.weight_decay),
      static_cast<float>(parameters.learning_rate / (1.0 - std::pow(parameters.beta1, step))),
      static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(parameters.beta2, step))),
      static_cast<float>(parameters.beta1),
      static_cast<float>(parameters.beta2),
      static_cast<float>(parameters.epsilon),
      static_cast<float>(parameters.gradient_scale)};
  launch(adamw_kernel, {blocks_for(buffers.size), block_threads, stream}, buffers.parameter, buffers.gradient,
         buffers.first_moment, buffers.second_moment, static_cast<__nv_bfloat16*>(buffers.rounded), scalars,
         buffers.size);
}

}  // namespace spa::kernels::cuda
