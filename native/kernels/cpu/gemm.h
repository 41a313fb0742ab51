// The matrix product that the other row kernels of this instruction set build on.
#pragma once

#include "kernels/cpu/vector.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {

/// Table::gemm.
void gemm(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column, const float* b,
          int64_t ldb, float* c, int64_t ldc, bool accumulate);

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
