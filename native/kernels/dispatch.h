// The one place that decides which implementation of an operation runs.
//
// Every operation has a tensor-level function (linear.h, rms_norm.h, ...). It asks `path_of` and runs
//   Path::cpu   the row kernels of cpu::table(), split over threads with at::parallel_for (float32 and
//   bfloat16), Path::cuda  a kernel of kernels/cuda (float32 and bfloat16 on CUDA, in a build with CUDA),
//   Path::aten  plain ATen on any device and any float dtype (float64 for gradient checks, CUDA without an
//   own kernel).
#pragma once

#include <ATen/ATen.h>

#include "kernels/cpu/table.h"

namespace spa::kernels {

enum class Path { cpu, cuda, aten };

/// Whether this build has CUDA kernels; path_of says Path::cuda only then. Calls of cuda:: functions stand
/// under `if constexpr (has_cuda)`.
#if defined(SPA_CUDA)
constexpr bool has_cuda = true;
#else
constexpr bool has_cuda = false;
#endif

/// The path for an operation whose main operand is `tensor`.
Path path_of(const at::Tensor& tensor);

namespace cpu {

enum class Isa { baseline, avx2, avx512 };

/// The row kernels in use: at first the fastest this CPU can run.
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
