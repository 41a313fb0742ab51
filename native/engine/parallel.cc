#include "engine/parallel.h"

#include <algorithm>
#include <numeric>

#include "engine/packing.h"

namespace spa {
namespace {

constexpr int64_t side_by_side_parameters = int64_t{1} << 23;

int64_t layer_parameters(const ModelConfig& c) {
  return c.hidden * (c.qkv_size() + c.query_size() + 3 * c.intermediate);
}

}  // namespace

bool runs_side_by_side(const ModelConfig& config, at::Device device) {
  return device.is_cpu() &&
         config.layers * layer_parameters(config) + config.vocab * config.hidden <= side_by_side_parameters;
}

double forward_cost(const ModelConfig& c, int64_t start, int64_t count) {
  const double attended = static_cast<double>(count) * static_cast<double>(start + (count + 1) / 2);
  return static_cast<double>(c.layers) *
         (static_cast<double>(count) * static_cast<double>(layer_parameters(c)) +
          2.0 * attended * static_cast<double>(c.query_size()));
}

std::vector<std::vector<int64_t>> deal_out(std::span<const double> costs, int64_t parts) {
  std::vector<int64_t> order(costs.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return costs[a] > costs[b]; });
  std::vector<std::vector<int64_t>> lists(parts);
  std::vector<double> sums(parts, 0.0);
  for (const int64_t item : order) {
    const auto least = std::min_element(sums.begin(), sums.end()) - sums.begin();
    lists[least].push_back(item);
    sums[least] += costs[item];
  }
  for (auto& list : lists) std::sort(list.begin(), list.end());
  return lists;
}

ShardPlan shard_rows(const ModelConfig& config, at::Device device, std::span<const int64_t> rows,
                     std::span<const int64_t> lengths) {
  ShardPlan plan;
  if (!runs_side_by_side(config, device)) {
    plan.parts.push_back({{rows.begin(), rows.end()}});
    return plan;
  }
  std::vector<double> costs;
  for (const int64_t row : rows) costs.push_back(forward_cost(config, 0, lengths[row]));
  const auto parts = std::min<int64_t>(at::get_num_threads(), static_cast<int64_t>(rows.size()));
  for (const auto& items : deal_out(costs, std::max<int64_t>(parts, 1))) {
    std::vector<int64_t> own;
    for (const int64_t item : items) own.push_back(rows[item]);
    plan.parts.push_back(micro_batches(own, lengths, side_by_side_chunk_tokens));
  }
  return plan;
}

}  // namespace spa
