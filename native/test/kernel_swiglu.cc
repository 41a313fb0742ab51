#include "kernels/swiglu.h"
#include "reference.h"

using namespace spa;
using test::error;

TEST_CASE("swiglu: values and gradients") {
  test::on_each_isa([] {
    for (const auto& [rows, width] :
         {std::pair<int64_t, int64_t>{1, 1}, {3, 5}, {40, 176}, {257, 20}, {0, 16}}) {
      CAPTURE(rows);
      CAPTURE(width);
      const at::Tensor gate_up = test::random({rows, 2 * width}, 1) * 3,
                       grad = test::random({rows, width}, 2);
      const at::Tensor leaf = test::leaf(gate_up);
      const at::Tensor expected = at::silu(leaf.narrow(1, 0, width)) * leaf.narrow(1, width, width);
      expected.backward(grad.to(at::kDouble));
      CHECK(error(kernels::swiglu(gate_up), expected) < 1e-6);
      CHECK(error(kernels::swiglu_backward(grad, gate_up), leaf.grad()) < 1e-6);
      CHECK(error(kernels::swiglu_backward(grad.to(at::kDouble), gate_up.to(at::kDouble)), leaf.grad()) <
            1e-12);
      CHECK(error(kernels::swiglu(gate_up.to(at::kBFloat16)), expected) < 2e-2);
    }
  });
}

TEST_CASE("swiglu: extreme gates stay finite") {
  test::on_each_isa([] {
    const at::Tensor gate_up =
        at::tensor({-1000.f, -90.f, -88.f, 0.f, 88.f, 1000.f, 1.f, 1.f, 1.f, 1.f, 1.f, 1.f}).view({1, 12});
    const at::Tensor y = kernels::swiglu(gate_up);
    CHECK(error(y, at::tensor({0.f, 0.f, 0.f, 0.f, 88.f, 1000.f}).view({1, 6})) < 1e-6);
    const at::Tensor gradient = kernels::swiglu_backward(at::ones({1, 6}), gate_up);
    CHECK(at::isfinite(gradient).all().item<bool>());
  });
}
