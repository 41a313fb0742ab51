#include "kernel_test.h"

using namespace spa;
using namespace spa::test;

namespace {

template <typename T>
struct Case {
  int64_t rows, width;
  std::vector<T> x = normal<T>(rows * width, 1), grad_y = normal<T>(rows * width, 2),
                 grad_sum = normal<T>(rows * width, 3);
  std::vector<float> weight = normal<float>(width, 4), grad_weight = normal<float>(width, 5);
  static constexpr double epsilon = 1e-6;

  /// y and 1 / rms.
  std::vector<Numbers> forward() const {
    std::vector<Numbers> result(2);
    for (int64_t i = 0; i < rows; ++i) {
      double squares = 0;
      for (int64_t j = 0; j < width; ++j) squares += std::pow(widened(x[i * width + j]), 2);
      const double inverse = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
      result[1].push_back(inverse);
      for (int64_t j = 0; j < width; ++j)
        result[0].push_back(widened(x[i * width + j]) * inverse * weight[j]);
    }
    return result;
  }

  /// grad_x and grad_weight.
  std::vector<Numbers> backward(const Numbers& inverse, bool with_sum) const {
    std::vector<Numbers> result{{}, numbers(grad_weight)};
    const Numbers v = numbers(x), g = numbers(grad_y), past = numbers(grad_sum);
    for (int64_t i = 0; i < rows; ++i) {
      double mean = 0;
      for (int64_t j = 0; j < width; ++j) {
        const double scaled = v[i * width + j] * inverse[i];
        mean += g[i * width + j] * weight[j] * scaled / static_cast<double>(width);
        result[1][j] += g[i * width + j] * scaled;
      }
      for (int64_t j = 0; j < width; ++j) {
        const int64_t at = i * width + j;
        result[0].push_back((g[at] * weight[j] - v[at] * inverse[i] * mean) * inverse[i] +
                            (with_sum ? past[at] : 0.0));
      }
    }
    return result;
  }

  std::vector<Numbers> run_forward() const {
    const auto from = input(x);
    const auto w = input(weight);
    const DeviceArray<T> y(x.size());
    const DeviceArray<float> inverse(rows);
    kernels::cuda::rms_norm(
        {element_of<T>, rows, width, from.data(), w.data(), epsilon, y.data(), inverse.data()}, nullptr);
    return {written(y), written(inverse)};
  }

  std::vector<Numbers> run_backward(const std::vector<float>& inverse_rms, bool with_sum) const {
    const auto from = input(x), gradient = input(grad_y), past = input(grad_sum);
    const auto w = input(weight), inverse = input(inverse_rms);
    const DeviceArray<T> grad_x(x.size());
    const DeviceArray<float> sum(grad_weight), partial(kernels::cuda::rms_norm_chunks(rows) * width);
    kernels::cuda::rms_norm_backward(
        {element_of<T>, rows, width, gradient.data(), from.data(), w.data(), inverse.data(),
         with_sum ? past.data() : nullptr, grad_x.data(), sum.data(), partial.data()},
        nullptr);
    return {written(grad_x), written(sum)};
  }
};

template <typename T>
void check(int64_t rows, int64_t width) {
  CAPTURE(rows);
  CAPTURE(width);
  const Case<T> c{rows, width};
  const auto expected = c.forward();
  const auto actual = prove([&] { return c.run_forward(); });
  CHECK(error(actual[0], expected[0]) < allowed<T>(2e-6));
  CHECK(error(actual[1], expected[1]) < 2e-6);
  const std::vector<float> inverse(expected[1].begin(), expected[1].end());
  for (const bool with_sum : {false, true}) {
    const auto gradients = prove([&] { return c.run_backward(inverse, with_sum); });
    const auto wanted = c.backward(expected[1], with_sum);
    CHECK(error(gradients[0], wanted[0]) < allowed<T>(1e-5));
    CHECK(error(gradients[1], wanted[1]) < 1e-5);
  }
}

}  // namespace

TEST_CASE_TEMPLATE("cuda rms_norm: values and gradients", T, float, __nv_bfloat16) {
  check<T>(0, 64);
  check<T>(1, 1);
  check<T>(3, 5);
  check<T>(131, 31);
  check<T>(2, 1543);
}
