#include "kernel_test.h"

using namespace spa;
using namespace spa::test;

namespace {

template <typename T>
void check(int64_t rows, int64_t width) {
  CAPTURE(rows);
  CAPTURE(width);
  const auto gate_up = normal<T>(rows * 2 * width, 1, 3.0), grad = normal<T>(rows * width, 2);
  Numbers y, grad_gate_up(gate_up.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < width; ++j) {
      const int64_t at = i * 2 * width + j;
      const double gate = widened(gate_up[at]), up = widened(gate_up[at + width]),
                   g = widened(grad[i * width + j]), s = 1 / (1 + std::exp(-gate));
      y.push_back(gate * s * up);
      grad_gate_up[at] = g * up * s * (1 + gate * (1 - s));
      grad_gate_up[at + width] = g * gate * s;
    }
  }
  const auto actual = prove([&]() -> std::vector<Numbers> {
    const auto from = input(gate_up), gradient = input(grad);
    const DeviceArray<T> to(rows * width), back(gate_up.size());
    kernels::cuda::swiglu({element_of<T>, rows, width, from.data(), to.data()}, nullptr);
    kernels::cuda::swiglu_backward({element_of<T>, rows, width, gradient.data(), from.data(), back.data()},
                                   nullptr);
    return {written(to), written(back)};
  });
  CHECK(error(actual[0], y) < allowed<T>(1e-6));
  CHECK(error(actual[1], grad_gate_up) < allowed<T>(1e-6));
}

}  // namespace

TEST_CASE_TEMPLATE("cuda swiglu: values and gradients", T, float, __nv_bfloat16) {
  check<T>(0, 8);
  check<T>(1, 1);
  check<T>(3, 85);
  check<T>(1, 2051);
}
