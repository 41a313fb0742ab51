#include "kernel_test.h"

using namespace spa;
using namespace spa::test;

namespace {

template <typename T>
void check(int64_t rows, int64_t heads, int64_t head_dim, float direction) {
  CAPTURE(rows);
  CAPTURE(head_dim);
  const int64_t positions = 11, half = head_dim / 2, width = heads * head_dim, ld = width + 3;
  const auto x = normal<T>(rows * ld, 1);
  const auto cosine = normal<float>(positions * half, 2), sine = normal<float>(positions * half, 3);
  std::vector<int64_t> places;
  for (int64_t i = 0; i < rows; ++i) places.push_back(i * 7 % positions);
  Numbers expected = numbers(x);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t j = 0; j < half; ++j) {
        const double c = cosine[places[i] * half + j], s = sine[places[i] * half + j] * direction;
        double &low = expected[i * ld + h * head_dim + j], &high = expected[i * ld + h * head_dim + half + j];
        const double a = low, b = high;
        low = a * c - b * s;
        high = b * c + a * s;
      }
    }
  }
  const auto actual = prove([&]() -> std::vector<Numbers> {
    const DeviceArray<T> rotated(x);
    const auto c = input(cosine), s = input(sine);
    const auto at = input(places);
    kernels::cuda::rope(
        {element_of<T>, rows, ld, heads, head_dim, rotated.data(), c.data(), s.data(), at.data(), direction},
        nullptr);
    return {written(rotated)};
  });
  CHECK(error(actual[0], expected) < allowed<T>(1e-6));
}

}  // namespace

TEST_CASE_TEMPLATE("cuda rope: rotation and its inverse, what lies behind the heads untouched", T, float,
                   __nv_bfloat16) {
  check<T>(0, 2, 8, 1);
  check<T>(1, 1, 2, 1);
  check<T>(5, 3, 10, 1);
  check<T>(67, 5, 24, -1);
}
