// 8-bit moments: the map, the nearest codes, and an update against that of float32 moments.
#include <cmath>

#include "doctest_torch.h"
#include "kernels/quantized_moments.h"

using namespace spa::kernels;

TEST_CASE("the dynamic map has the published values") {
  // From bitsandbytes' create_dynamic_map(signed): ends, middle and the finest decade.
  const auto& with_sign = dynamic_map(true);
  CHECK(with_sign[255] == 1.0f);
  CHECK(with_sign[127] == 0.0f);
  CHECK(with_sign[254] == doctest::Approx(0.99296875));
  CHECK(with_sign[0] == doctest::Approx(-0.99296875));
  CHECK(with_sign[128] == doctest::Approx(5.5e-7));
  const auto& without = dynamic_map(false);
  CHECK(without[0] == 0.0f);
  CHECK(without[1] == doctest::Approx(3.25e-7));
  CHECK(without[2] == doctest::Approx(7.75e-7));
  CHECK(without[254] == doctest::Approx(0.996484375));
  CHECK(without[255] == 1.0f);
}

TEST_CASE("quantising takes the nearest code of each block, and never makes a variance zero") {
  const int64_t n = 3 * moment_block + 17;
  at::manual_seed(3);
  for (const bool is_signed : {true, false}) {
    const at::Tensor values = is_signed ? at::randn({n}) : at::randn({n}).square();
    values.narrow(0, 0, moment_block).mul_(1e-6);
    values[5] = 1e-15;
    const auto moment = zero_moment(n, is_signed, at::kCPU);
    CHECK(dequantize(moment, is_signed).abs().max().item<float>() == 0);
    quantize_(moment, values, is_signed);
    const at::Tensor back = dequantize(moment, is_signed);
    const auto& map = dynamic_map(is_signed);
    for (int64_t i = 0; i < n; ++i) {
      const float scale = moment.scales[i / moment_block].item<float>(), x = values[i].item<float>();
      float best = INFINITY;
      for (const float entry : map) best = std::min(best, std::abs(entry * scale - x));
      if (!is_signed && x > 0 && x < map[1] * scale) {
        CHECK(back[i].item<float>() == map[1] * scale);
      } else {
        CHECK(std::abs(back[i].item<float>() - x) <= best * 1.0001f + 1e-30f);
      }
    }
  }
}

TEST_CASE("an update is that of the widened moments, the same on every path") {
  const int64_t n = 5 * moment_block + 100;
  at::manual_seed(4);
  const at::Tensor start = at::randn({n}), m0 = at::randn({n}) * 0.01, v0 = at::randn({n}).square() * 1e-4;
  const AdamWParameters settings{.learning_rate = 0.01, .step = 7, .gradient_scale = 0.5};
  const at::Tensor gradient = at::randn({n});
  const auto first = zero_moment(n, true, at::kCPU), second = zero_moment(n, false, at::kCPU);
  quantize_(first, m0, true);
  quantize_(second, v0, false);
  const at::Tensor m = dequantize(first, true), v = dequantize(second, false);

  const at::Tensor expected = start.clone();
  adamw_({{expected, gradient, m, v, {}}}, settings);
  const at::Tensor own = start.clone();
  const QuantizedMoment own_first{first.codes.clone(), first.scales.clone()},
      own_second{second.codes.clone(), second.scales.clone()};
  quantized_adamw_({{own, gradient, own_first, own_second, {}}}, settings);
  CHECK(at::equal(own, expected));
  const auto again = zero_moment(n, true, at::kCPU);
  quantize_(again, m, true);
  CHECK(at::equal(again.codes, own_first.codes));
  CHECK(at::equal(again.scales, own_first.scales));
  const auto again_second = zero_moment(n, false, at::kCPU);
  quantize_(again_second, v, false);
  CHECK(at::equal(again_second.codes, own_second.codes));

  // With a master, the parameter is its rounding.
  const at::Tensor master = start.clone(), rounded = start.to(at::kBFloat16);
  quantized_adamw_({{rounded, gradient, first, second, master}}, settings);
  CHECK(at::equal(master, expected));
  CHECK(at::equal(rounded, expected.to(at::kBFloat16)));
}
