// The one place that decides which implementation of an operation runs.
//
// Every operation has a tensor-level function (linear.h, rms_norm.h, ...). It asks `path_of`, a product with
// a weight `product_of`.
#pragma once

#include <ATen/ATen.h>

#include "kernels/cpu/table.h"

namespace spa::kernels {

enum class Path {
  cpu,   // the row kernels of cpu::table(), split over threads (float32 and bfloat16)
  cuda,  // a kernel of kernels/cuda (float32 and bfloat16 on CUDA, in a build with CUDA)
  aten,  // plain ATen on any device, any float dtype (float64 for gradient checks)
};

/// Whether this build has CUDA kernels; path_of says Path::cuda only then. Calls of cuda:: functions stand
/// under `if constexpr (has_cuda)`.
#if defined(SPA_CUDA)
constexpr bool has_cuda = true;
#else
constexpr bool has_cuda = false;
#endif

/// The path for an operation whose main operand is `tensor`.
Path path_of(const at::Tensor& tensor);

/// How a product with a weight [out, in] is computed.
enum class Product {
  rows,   // row kernels on a copy in panels: weights whose panels stay in a second-level cache, on the CPU
  tiles,  // AMX (tile_linear.h): bfloat16, `in` and `out` multiples of 32, on a CPU that has them
  aten,   // MKL, oneDNN, cuBLAS
};

/// The product with a weight of this shape whose operands have this type.
Product product_of(int64_t out_features, int64_t in_features, at::ScalarType dtype, at::Device device);
/// The same for given operands; the weight's own layout decides too.
Product product_of(const at::Tensor& x, const at::Tensor& weight);

/// Elements of the largest weight that Product::rows takes; 0: none.
int64_t largest_panels(at::ScalarType dtype, at::Device device);

/// Whether this build has the kernels of kernels/amx.
#if defined(SPA_AMX)
constexpr bool has_amx = true;
#else
constexpr bool has_amx = false;
#endif

/// Switches the tiles on (where there are any) or off in the whole process, not while kernels run. For tests
/// and for comparing machines. Returns whether they were on.
bool use_tiles(bool on);

namespace cpu {

enum class Isa { baseline, avx2, avx512 };

/// The row kernels in use: at first the fastest this CPU can run, or those that the environment variable
/// SPA_ISA names (baseline, avx2, avx512), for numbers of another machine. Throws c10::Error when this build
/// or CPU does not have them.
const Table& table();

/// Uses the row kernels of another instruction set from now on, in the whole process (not while kernels run).
/// For tests and for comparing machines. Returns false and changes nothing when this build or CPU does not
/// have them.
bool use(Isa isa);

/// The row kernels of one instruction set, or nullptr when they are not in this build or this CPU cannot run
/// them. For tests.
const Table* table_for(Isa isa);

}  // namespace cpu
}  // namespace spa::kernels
