#include "engine/packing.h"

#include <algorithm>
#include <string>

#include "engine/error.h"

namespace spa {

void RaggedTokens::validate(int64_t vocab) const {
  const auto bad = [](const std::string& message) { throw Error("BAD_ARGUMENT", message); };
  if (offsets.empty() || offsets.front() != 0) bad("offsets must start with 0");
  if (offsets.back() != tokens.size()) {
    bad("the last offset must be the number of tokens (" + std::to_string(tokens.size()) + "), got " +
        std::to_string(offsets.back()));
  }
  for (size_t i = 1; i < offsets.size(); ++i) {
    if (offsets[i] < offsets[i - 1]) bad("offsets must not fall (entry " + std::to_string(i) + ")");
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab) {
      bad("token " + std::to_string(tokens[i]) + " at position " + std::to_string(i) +
          " is outside the vocabulary of " + std::to_string(vocab));
    }
  }
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
