// How fast matrix products are: what benchmarks set their FLOP rates against.
#pragma once

#include <ATen/ATen.h>

namespace spa {

/// A product x W^T with x [rows, inner] and W [columns, inner].
struct ProductShape {
  int64_t rows = 0, inner = 0, columns = 0;
};

/// Seconds of the fastest of `repeats` products, after one that is not timed, by whichever of libtorch's GEMM
/// and the package's own micro-kernels is faster. Call with the engine's threads set.
double fastest_product_seconds(const ProductShape& shape, at::ScalarType dtype, at::Device device,
                               int repeats);

}  // namespace spa
