#include "engine/gemm_rate.h"

#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "kernels/linear.h"

namespace spa {
namespace {

void wait_for(at::Device device) {
  if (device.is_cpu()) return;
  c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.has_index() ? device.index() : 0);
}

double fastest_seconds(const std::function<at::Tensor()>& product, at::Device device, int repeats) {
  product();
  double fastest = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat < repeats; ++repeat) {
    wait_for(device);
    const auto begin = std::chrono::steady_clock::now();
    product();
    wait_for(device);
    fastest =
        std::min(fastest, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return fastest;
}

}  // namespace

double fastest_product_seconds(const ProductShape& shape, at::ScalarType dtype, at::Device device,
                               int repeats) {
  const c10::InferenceMode guard;
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const at::Tensor x = at::full({shape.rows, shape.inner}, 0.5, options);
  const at::Tensor weight = at::full({shape.columns, shape.inner}, 0.25, options);
  const double seconds = fastest_seconds([&] { return at::linear(x, weight); }, device, repeats);
  if (!device.is_cpu()) return seconds;
  const kernels::PanelWeight panels(weight);
  return std::min(seconds, fastest_seconds([&] { return kernels::linear(x, panels); }, device, repeats));
}

}  // namespace spa
