// What the tests of kernels share.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <type_traits>

#include "cuda_on_cpu/proof.h"
#include "kernels/cuda/kernels.h"
#include "third_party/doctest.h"

namespace spa::test {

using cuda_on_cpu::allowed;
using cuda_on_cpu::DeviceArray;
using cuda_on_cpu::error;
using cuda_on_cpu::input;
using cuda_on_cpu::narrowed;
using cuda_on_cpu::normal;
using cuda_on_cpu::Numbers;
using cuda_on_cpu::numbers;
using cuda_on_cpu::prove;
using cuda_on_cpu::prove_barriers;
using cuda_on_cpu::widened;
using cuda_on_cpu::written;

template <typename T>
constexpr kernels::cuda::Element element_of =
    std::is_same_v<T, float> ? kernels::cuda::Element::float32 : kernels::cuda::Element::bfloat16;

}  // namespace spa::test
