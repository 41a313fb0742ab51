// Coarse threading: whole forward and backward passes of independent rows run side by side in one parallel
// region, and the kernels inside run serially. With one part the kernels themselves spread over the threads.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model_config.h"

namespace spa {

/// Calls body(part) for every part in [0, parts), each on one thread. The engine computes its own gradients,
/// so autograd's dispatch is switched off.
template <typename Body>
void parallel_parts(int64_t parts, const Body& body) {
  if (parts == 1) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    body(int64_t{0});
    return;
  }
  at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    for (int64_t part = begin; part < end; ++part) body(part);
  });
}

/// Tokens of a thread's chunk: from forward to backward pass their activations stay in a second-level cache.
constexpr int64_t side_by_side_chunk_tokens = 256;

/// Whether rows should run side by side: on the CPU, and only while a thread's share of the caches holds the
/// weights. Larger models are faster when all threads work on one product.
bool runs_side_by_side(const ModelConfig& config, at::Device device);

/// Rows dealt out to threads, and each thread's rows cut into chunks that are small enough for its caches.
struct ShardPlan {
  std::vector<std::vector<std::vector<int64_t>>> parts;  // [part][chunk] -> rows
};

/// Deals out the rows of one micro-batch by the cost of their `lengths` (by row), deterministically.
ShardPlan shard_rows(const ModelConfig& config, at::Device device, std::span<const int64_t> rows,
                     std::span<const int64_t> lengths);

/// Cost of a forward pass over `count` new tokens behind `start` old ones, in multiply-adds.
double forward_cost(const ModelConfig& config, int64_t start, int64_t count);

/// Deals out items with the given costs to `parts` lists: the dearest first, each to the list with the least
/// so far (ties: the first). Items keep their order inside a list.
std::vector<std::vector<int64_t>> deal_out(std::span<const double> costs, int64_t parts);

}  // namespace spa
