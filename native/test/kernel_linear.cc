#include "kernels/linear.h"
#include "reference.h"

using namespace spa;
using test::error;

namespace {

struct Shape {
  int64_t rows, in, out;
};

const Shape shapes[] = {{1, 1, 1},     {1, 64, 128},   {2, 3, 5},      {7, 16, 17},
                        {31, 24, 96},  {64, 64, 54},   {5, 176, 64},   {13, 65, 352},
                        {100, 33, 63}, {257, 64, 100}, {300, 300, 65}, {0, 8, 8}};

}  // namespace

TEST_CASE("linear: values and gradients agree with float64 on odd shapes") {
  test::on_each_isa([] {
    for (const auto& [rows, in, out] : shapes) {
      CAPTURE(rows);
      CAPTURE(in);
      CAPTURE(out);
      const at::Tensor x = test::random({rows, in}, 1), weight = test::random({out, in}, 2),
                       bias = test::random({out}, 3);
      const at::Tensor add = test::random({rows, out}, 4), grad = test::random({rows, out}, 5);
      const at::Tensor x64 = test::leaf(x), weight64 = test::leaf(weight), bias64 = test::leaf(bias);
      const at::Tensor plain = at::linear(x64, weight64, bias64);
      plain.backward(grad.to(at::kDouble));

      CHECK(error(kernels::linear(x, weight, bias), plain) < 1e-5);
      CHECK(error(kernels::linear(x, weight), at::linear(x64, weight64)) < 1e-5);
      CHECK(error(kernels::linear(x, weight, bias, add), plain + add) < 1e-5);
      CHECK(error(kernels::linear_input_gradient(grad, weight), x64.grad()) < 1e-5);

      const at::Tensor start = test::random({out, in}, 6), bias_start = test::random({out}, 7);
      const at::Tensor grad_weight = start.clone(), grad_bias = bias_start.clone();
      kernels::accumulate_linear_gradient(grad, x, grad_weight, grad_bias);
      CHECK(error(grad_weight, weight64.grad() + start) < 1e-5);
      CHECK(error(grad_bias, bias64.grad() + bias_start) < 1e-5);
    }
  });
}

TEST_CASE("linear: large depth, strided rows, bfloat16 and float64") {
  test::on_each_isa([] {
    const at::Tensor wide = test::random({40, 900}, 1);
    const at::Tensor x = wide.narrow(1, 100, 700);
    const at::Tensor weight = test::random({30, 700}, 2);
    const at::Tensor expected = at::linear(x.to(at::kDouble), weight.to(at::kDouble));
    CHECK(error(kernels::linear(x, weight), expected) < 1e-5);
    CHECK(error(kernels::linear(x, kernels::PanelWeight(weight)), expected) < 1e-5);
    const at::Tensor narrow = kernels::linear(x.to(at::kBFloat16), weight.to(at::kBFloat16));
    CHECK((narrow.scalar_type() == at::kBFloat16));
    CHECK(error(narrow, expected) < 2e-2);
    CHECK(error(kernels::linear(x.to(at::kDouble), weight.to(at::kDouble)), expected) < 1e-12);

    const at::Tensor grad = test::random({1000, 30}, 3), input = test::random({1000, 20}, 4);
    const at::Tensor grad_weight = at::zeros({30, 20});
    kernels::accumulate_linear_gradient(grad, input, grad_weight);
    CHECK(error(grad_weight, at::mm(grad.to(at::kDouble).t(), input.to(at::kDouble))) < 1e-5);
  });
}

TEST_CASE("linear: a row's result does not depend on the rows beside it") {
  test::on_each_isa([] {
    const at::Tensor x = test::random({101, 64}, 1);
    const kernels::PanelWeight weight(test::random({130, 64}, 2));
    const at::Tensor together = kernels::linear(x, weight);
    for (const int64_t rows : {1, 2, 3, 5, 11, 50}) {
      CHECK(at::equal(kernels::linear(x.narrow(0, 7, rows), weight), together.narrow(0, 7, rows)));
    }
  });
}

TEST_CASE("gemm: transposed operands, accumulation, no columns or depth") {
  test::on_each_isa([] {
    const auto& table = kernels::cpu::table();
    const at::Tensor a = test::random({70, 33}, 1), b = test::random({33, 90}, 2);
    at::Tensor c = test::random({70, 90}, 3);
    const at::Tensor expected = c.to(at::kDouble) + at::mm(a.to(at::kDouble), b.to(at::kDouble));
    const at::Tensor transposed = a.t().contiguous();
    table.gemm(70, 90, 33, transposed.const_data_ptr<float>(), 1, 70, b.const_data_ptr<float>(), 90,
               c.mutable_data_ptr<float>(), 90, true);
    CHECK(error(c, expected) < 1e-5);
    table.gemm(70, 90, 0, a.const_data_ptr<float>(), 33, 1, b.const_data_ptr<float>(), 90,
               c.mutable_data_ptr<float>(), 90, false);
    CHECK(at::equal(c, at::zeros_like(c)));
  });
}
