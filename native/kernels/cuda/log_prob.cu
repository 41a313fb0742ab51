#include <type_traits>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spa::kernels::cuda {
namespace {

/// What is known of some of a row's scores z: their maximum m, the sum of e^(z - m), and that of
/// (z - m) e^(z - m), of which the entropy is made without the cancellation of large scores.
struct Softmax {
  float largest = Maximum::neutral;
  float sum = 0;
  float moment = 0;

  __device__ void add(float z) {
    if (z > largest) rise_to(z);
    const float shifted = z - largest, e = expf(shifted);
    sum += e;
    if (e > 0) moment += shifted * e;
  }
  /// The same with a maximum that is not below its own.
  __device__ void rise_to(float maximum) {
    if (sum > 0) {
      const float shift = largest - maximum, factor = expf(shift);
      moment = factor > 0 ? factor * (moment + shift * sum) : 0.0f;
      sum *= factor;
    }
    largest = maximum;
  }
};

/// One block a row.
__global__ void forward_kernel(LogProb head) {
  const int64_t row = blockIdx.x;
  const float* z = head.logits + row * head.vocab;
  Softmax own;
#pragma unroll 4
  for (int64_t j = threadIdx.x; j < head.vocab; j += block_threads) own.add(z[j] * head.inverse_temperature);
  own.rise_to(block_reduce(own.largest, Maximum{}));
  const float sum = block_reduce(own.sum, Sum{}), moment = block_reduce(own.moment, Sum{});
  if (threadIdx.x != 0) return;
  const float log_sum = logf(sum), target = z[head.targets[row]] * head.inverse_temperature;
  head.log_prob[row] = target - own.largest - log_sum;
  head.log_sum_exp[row] = own.largest + log_sum;
  if (head.entropy) head.entropy[row] = log_sum - moment / sum;
}

/// One block a row, some elements at a time: all are read before any is written, for a narrow gradient lies
/// where other threads' logits are.
template <typename T>
__global__ void backward_kernel(LogProbBackward head) {
  constexpr int each = 8;
  const int64_t row = blockIdx.x, target = head.targets[row];
  const float* z = head.logits + row * head.vocab;
  T* gradient = reinterpret_cast<T*>(head.logits + row * head.vocab);
  const float log_sum = head.log_sum_exp[row], g = head.grad_log_prob[row];
  const float h = head.grad_entropy ? head.grad_entropy[row] : 0.0f;
  const float entropy = head.grad_entropy ? head.entropy[row] : 0.0f;
  for (int64_t begin = 0; begin < head.vocab; begin += each * block_threads) {
    float logits[each];
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int64_t j = begin + i * block_threads + threadIdx.x;
      logits[i] = j < head.vocab ? z[j] : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < each; ++i) {
      const int64_t j = begin + i * block_threads + threadIdx.x;
      if (j >= head.vocab) continue;
      const float log_p = logits[i] * head.inverse_temperature - log_sum, p = expf(log_p);
      float value = p > 0 ? -p * (g + h * (log_p + entropy)) : 0.0f;
      if (j == target) value += g;
      gradient[j] = narrow<T>(value * head.inverse_temperature);
    }
  }
}

}  // namespace

void log_prob(const LogProb& head, Stream stream) {
  if (head.rows == 0) return;
  launch(forward_kernel, {static_cast<unsigned>(head.rows), block_threads, stream}, head);
}

void log_prob_backward(const LogProbBackward& head, Stream stream) {
  if (head.rows == 0) return;
  with_element(head.element, [&](auto* element) {
    using T = std::remove_pointer_t<decltype(element)>;
    launch(backward_kernel<T>, {static_cast<unsigned>(head.rows), block_threads, stream}, head);
  });
}

}  // namespace spa::kernels::cuda
