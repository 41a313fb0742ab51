// What the kernel tests share: inputs, comparison, and a loop over this machine's instruction sets.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "doctest_torch.h"
#include "kernels/dispatch.h"

namespace spa::test {

using kernels::cpu::Isa;

/// Runs body() with the row kernels of each instruction set in turn, then goes back to the fastest.
template <typename Body>
void on_each_isa(const Body& body) {
  for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (!kernels::cpu::use(isa)) continue;
    CAPTURE(std::string(kernels::cpu::table().name));
    body();
  }
}

/// Reproducible normal numbers, float32.
inline at::Tensor random(at::IntArrayRef sizes, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(sizes, generator, at::TensorOptions().dtype(at::kFloat));
}

/// A float64 leaf with a gradient.
inline at::Tensor leaf(const at::Tensor& x) {
  return x.detach().to(at::kDouble).clone().requires_grad_(true);
}

/// Largest |actual - expected| relative to max(1, largest |expected|).
inline double error(const at::Tensor& actual, const at::Tensor& expected) {
  REQUIRE(actual.sizes() == expected.sizes());
  if (actual.numel() == 0) return 0;
  const at::Tensor a = actual.detach().to(at::kDouble), e = expected.detach().to(at::kDouble);
  const double difference = (a - e).abs().max().item<double>();
  const double size = std::max(1.0, e.abs().max().item<double>());
  return std::isfinite(difference) ? difference / size : INFINITY;
}

inline at::Tensor int32_tensor(const std::vector<int32_t>& values) { return at::tensor(values, at::kInt); }

/// [0, then running sums], int32.
inline at::Tensor offsets_of(const std::vector<int64_t>& lengths) {
  std::vector<int32_t> offsets{0};
  for (const int64_t length : lengths) offsets.push_back(offsets.back() + static_cast<int32_t>(length));
  return int32_tensor(offsets);
}

}  // namespace spa::test
