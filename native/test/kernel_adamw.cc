#include <cmath>

#include "kernels/adamw.h"
#include "reference.h"

using namespace spa;
using test::error;

namespace {

struct State {
  at::Tensor parameter, first, second;
};

/// torch.optim.AdamW in float64.
void plain_step(State& s, const at::Tensor& gradient, const kernels::AdamWParameters& p) {
  const at::Tensor g = gradient.to(at::kDouble) * p.gradient_scale;
  s.parameter = s.parameter * (1 - p.learning_rate * p.weight_decay);
  s.first = s.first * p.beta1 + g * (1 - p.beta1);
  s.second = s.second * p.beta2 + g * g * (1 - p.beta2);
  const double c1 = 1 - std::pow(p.beta1, p.step), c2 = 1 - std::pow(p.beta2, p.step);
  s.parameter = s.parameter - p.learning_rate / c1 * s.first / ((s.second / c2).sqrt() + p.epsilon);
}

}  // namespace

TEST_CASE("adamw: ten steps over several buffers") {
  test::on_each_isa([] {
    const std::vector<int64_t> sizes{1, 19, 40000};
    std::vector<kernels::AdamWBuffers> buffers;
    std::vector<State> states;
    for (const int64_t size : sizes) {
      const at::Tensor parameter = test::random({size}, 10 + size);
      buffers.push_back({parameter.clone(), at::empty({size}), at::zeros({size}), at::zeros({size}), {}});
      states.push_back(
          {parameter.to(at::kDouble), at::zeros({size}, at::kDouble), at::zeros({size}, at::kDouble)});
    }
    for (int64_t step = 1; step <= 10; ++step) {
      const kernels::AdamWParameters p{1e-2, 0.9, 0.98, 1e-8, 0.1, step, 0.5};
      for (size_t i = 0; i < sizes.size(); ++i) {
        buffers[i].gradient.copy_(test::random({sizes[i]}, 100 * step + i));
        plain_step(states[i], buffers[i].gradient, p);
      }
      kernels::adamw_(buffers, p);
    }
    for (size_t i = 0; i < sizes.size(); ++i) {
      CHECK(error(buffers[i].parameter, states[i].parameter) < 2e-6);
      CHECK(error(buffers[i].first_moment, states[i].first) < 1e-6);
      CHECK(error(buffers[i].second_moment, states[i].second) < 1e-6);
    }
  });
}

TEST_CASE("adamw: bfloat16 parameters follow their float32 masters") {
  test::on_each_isa([] {
    const at::Tensor master = test::random({1000}, 1);
    State state{master.to(at::kDouble), at::zeros({1000}, at::kDouble), at::zeros({1000}, at::kDouble)};
    const kernels::AdamWBuffers buffers{master.to(at::kBFloat16), test::random({1000}, 2), at::zeros({1000}),
                                        at::zeros({1000}), master.clone()};
    const kernels::AdamWParameters p{1e-4};
    plain_step(state, buffers.gradient, p);
    kernels::adamw_({buffers}, p);
    CHECK(error(buffers.master, state.parameter) < 1e-6);
    CHECK(at::equal(buffers.parameter, buffers.master.to(at::kBFloat16)));
  });
}

TEST_CASE("squared norm, scale, and conversions") {
  test::on_each_isa([] {
    const at::Tensor x = test::random({50001}, 1), y = test::random({3, 7}, 2);
    const double expected =
        x.to(at::kDouble).square().sum().item<double>() + y.to(at::kDouble).square().sum().item<double>();
    CHECK(kernels::squared_norm({x, y}) == doctest::Approx(expected).epsilon(1e-12));
    CHECK(kernels::squared_norm({}) == 0.0);

    const at::Tensor special = at::cat({x, at::tensor({INFINITY, -INFINITY, 0.0f, -0.0f, 3.4e38f, 1e-40f})});
    const at::Tensor narrow = at::empty(special.sizes(), at::kBFloat16),
                     wide = at::empty(special.sizes(), at::kFloat);
    auto* bits = static_cast<kernels::cpu::Bf16*>(narrow.data_ptr());
    kernels::cpu::table().to_bf16(special.const_data_ptr<float>(), bits, special.numel());
    CHECK(at::equal(narrow, special.to(at::kBFloat16)));
    kernels::cpu::table().to_float(bits, wide.mutable_data_ptr<float>(), special.numel());
    CHECK(at::equal(wide, narrow.to(at::kFloat)));
    const float nan = NAN;
    kernels::cpu::Bf16 rounded = 0;
    kernels::cpu::table().to_bf16(&nan, &rounded, 1);
    CHECK((rounded & 0x7fffu) > 0x7f80u);
  });
}
