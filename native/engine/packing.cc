#include "engine/packing.h"

#include <algorithm>

#include "engine/error.h"

namespace spa {

void RaggedTokens::validate(int64_t vocab) const {
  require(!offsets.empty() && offsets.front() == 0 && offsets.back() == tokens.size(),
          "offsets run from 0 to the number of tokens");
  require(std::is_sorted(offsets.begin(), offsets.end()), "offsets do not fall");
  require(
      std::all_of(tokens.begin(), tokens.end(), [&](int32_t token) { return token >= 0 && token < vocab; }),
      "tokens are of the vocabulary");
}

PackedBatch pack_rows(const RaggedTokens& batch, std::span<const int64_t> rows,
                      std::span<const int64_t> lengths, at::Device device) {
  PackedBatch packed;
  int64_t total = 0;
  for (const int64_t row : rows) {
    packed.lengths.push_back(lengths[row]);
    packed.max_length = std::max(packed.max_length, lengths[row]);
    total += lengths[row];
  }
  packed.tokens = at::empty({total}, at::kLong);
  packed.positions = at::empty({total}, at::kLong);
  packed.offsets = at::empty({packed.rows() + 1}, at::kInt);
  packed.predicted.resize(total);
  auto* tokens = packed.tokens.data_ptr<int64_t>();
  auto* positions = packed.positions.data_ptr<int64_t>();
  auto* offsets = packed.offsets.data_ptr<int32_t>();
  int64_t next = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    offsets[i] = static_cast<int32_t>(next);
    const int64_t begin = batch.offsets[rows[i]];
    for (int64_t k = 0; k < packed.lengths[i]; ++k, ++next) {
      tokens[next] = batch.tokens[begin + k];
      positions[next] = k;
      packed.predicted[next] = begin + k + 1;
    }
  }
  offsets[rows.size()] = static_cast<int32_t>(next);
  if (!device.is_cpu()) {
    packed.tokens = packed.tokens.to(device);
    packed.positions = packed.positions.to(device);
  }
  return packed;
}

std::vector<std::vector<int64_t>> micro_batches(std::span<const int64_t> rows,
                                                std::span<const int64_t> lengths, int64_t token_budget) {
  std::vector<int64_t> order;
  for (const int64_t row : rows) {
    if (lengths[row] > 0) order.push_back(row);
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<int64_t>> result;
  int64_t used = 0;
  for (const int64_t row : order) {
    if (result.empty() || used + lengths[row] > token_budget) {
      result.emplace_back();
      used = 0;
    }
    result.back().push_back(row);
    used += lengths[row];
  }
  return result;
}

}  // namespace spa
