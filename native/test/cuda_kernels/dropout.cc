#include "kernel_test.h"
#include "kernels/cpu/kernels.h"

using namespace spa;
using namespace spa::test;

namespace {

void check(int64_t rows, int64_t width, double probability) {
  CAPTURE(rows);
  CAPTURE(width);
  const auto x = normal<float>(rows * width, 1);
  std::vector<int64_t> row_numbers;
  for (int64_t i = 0; i < rows; ++i) row_numbers.push_back((int64_t{1} << 39) + i * 1000003);
  const kernels::DropoutMask mask(77, 5, probability);
  std::vector<float> expected(x.size());
  kernels::cpu::baseline::dropout(x.data(), width, row_numbers.data(), mask, expected.data(), width, rows,
                                  width);
  const auto actual = prove([&]() -> std::vector<Numbers> {
    const auto from = input(x);
    const auto at = input(row_numbers);
    const DeviceArray<float> y(x.size());
    kernels::cuda::dropout(
        {kernels::cuda::Element::float32, rows, width, from.data(), at.data(), mask, y.data()}, nullptr);
    return {written(y)};
  });
  CHECK(actual[0] == numbers(expected));
}

}  // namespace

TEST_CASE("cuda dropout: the masks of the CPU's row kernels, to the bit") {
  check(0, 8, 0.5);
  check(1, 1, 0.25);
  check(37, 23, 0.1);
  check(2, 1030, 0.5);
}
