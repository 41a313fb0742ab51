// Operands of the products on tiles, and how those are split over threads.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>

#include "kernels/amx/gemm.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {

/// Multiply-adds of a tile in the time of one of the row kernels: what shares of the work are reckoned in.
constexpr int64_t tile_speed = 8;

/// x [rows, columns] with unit stride along the columns.
inline at::Tensor dense_rows(const at::Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }

/// B of a product in panels, filled by all threads.
struct PanelStorage {
  at::Tensor storage;
  int64_t steps = 0;
  int64_t columns = 0;

  amx::Panels panels() const { return {bf16_data(storage), steps * amx::block * amx::block, columns}; }
};

/// fill(first panel, last panel, target) fills some panels.
template <typename Fill>
PanelStorage make_panels(int64_t depth, int64_t columns, const Fill& fill) {
  PanelStorage result{empty_bf16({amx::panel_elements(depth, columns)}), amx::blocks_of(depth), columns};
  auto* target = mutable_bf16_data(result.storage);
  parallel_rows(amx::blocks_of(columns), depth * amx::block,
                [&](int64_t begin, int64_t end) { fill(begin, end, target); });
  return result;
}

/// Splits `rows` rows of A, `work` multiply-adds each, over the threads in blocks: f(first row, rows).
template <typename F>
void parallel_blocks(int64_t rows, int64_t work, const F& f) {
  parallel_rows(amx::blocks_of(rows), work * amx::block / tile_speed, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * amx::block;
    f(first, std::min(rows, end * amx::block) - first);
  });
}

}  // namespace spa::kernels
