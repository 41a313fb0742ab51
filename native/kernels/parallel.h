// How operations split their work over libtorch's threads. Splits never change results: a row or item is
// computed the same way wherever it runs.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace spa::kernels {

/// Waking a sleeping OpenMP thread costs as much as some hundred thousand multiply-adds; smaller shares stay
/// on the calling thread.
constexpr int64_t least_share = int64_t{1} << 19;

/// Rows per thread at least, for rows that cost `work` multiply-adds each.
inline int64_t grain(int64_t work) { return std::max<int64_t>(1, least_share / std::max<int64_t>(1, work)); }

/// Runs f(begin, end) over [0, rows) in one parallel region.
template <typename F>
void parallel_rows(int64_t rows, int64_t work, const F& f) {
  if (rows > 0) at::parallel_for(0, rows, grain(work), f);
}

/// Runs f(i) for i in [0, items), each thread taking the next one that is free: for items of unlike cost,
/// dearest first. `work` is the cost of all of them in multiply-adds.
template <typename F>
void parallel_items(int64_t items, int64_t work, const F& f) {
  const int64_t threads = std::min<int64_t>({at::get_num_threads(), items, work / least_share + 1});
  std::atomic<int64_t> next{0};
  at::parallel_for(0, std::max<int64_t>(threads, 1), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = next++; i < items; i = next++) f(i);
  });
}

}  // namespace spa::kernels
