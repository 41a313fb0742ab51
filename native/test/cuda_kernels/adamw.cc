#include "kernel_test.h"

using namespace spa;
using namespace spa::test;

namespace {

void check(int64_t size, bool with_rounded) {
  CAPTURE(size);
  const auto parameter = normal<float>(size, 1), gradient = normal<float>(size, 2),
             first = normal<float>(size, 3);
  auto second = normal<float>(size, 4);
  for (float& v : second) v = v * v;
  const kernels::AdamWParameters p{1e-2, 0.9, 0.98, 1e-8, 0.1, 3, 0.5};
  std::vector<Numbers> expected(3);
  for (int64_t i = 0; i < size; ++i) {
    const double g = gradient[i] * p.gradient_scale;
    const double m = first[i] * p.beta1 + g * (1 - p.beta1), v = second[i] * p.beta2 + g * g * (1 - p.beta2);
    const double c1 = 1 - std::pow(p.beta1, p.step), c2 = 1 - std::pow(p.beta2, p.step);
    expected[0].push_back(parameter[i] * (1 - p.learning_rate * p.weight_decay) -
                          p.learning_rate / c1 * m / (std::sqrt(v / c2) + p.epsilon));
    expected[1].push_back(m);
    expected[2].push_back(v);
  }
  const auto actual = prove([&]() -> std::vector<Numbers> {
    const DeviceArray<float> x(parameter), m(first), v(second);
    const auto g = input(gradient);
    const DeviceArray<__nv_bfloat16> rounded(with_rounded ? size : 0);
    kernels::cuda::adamw(
        {size, x.data(), g.data(), m.data(), v.data(), with_rounded ? rounded.data() : nullptr}, p, nullptr);
    return {written(x), written(m), written(v), written(rounded)};
  });
  CHECK(error(actual[0], expected[0]) < 2e-6);
  CHECK(error(actual[1], expected[1]) < 1e-6);
  CHECK(error(actual[2], expected[2]) < 1e-6);
  Numbers rounded;
  for (const double x : actual[0]) rounded.push_back(widened(narrowed<__nv_bfloat16>(x)));
  CHECK(actual[3] == (with_rounded ? rounded : Numbers{}));
}

}  // namespace

TEST_CASE("cuda adamw: one update as torch.optim.AdamW") {
  check(0, false);
  check(1, false);
  check(1, true);
  check(777, true);
}
