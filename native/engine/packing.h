// Ragged batches: rows of tokens laid end to end, with the offsets of their starts. No padding anywhere.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

namespace spa {

/// A ragged batch as it crosses the border: row i is tokens[offsets[i] .. offsets[i + 1]).
struct RaggedTokens {
  std::span<const int32_t> tokens;
  std::span<const uint32_t> offsets;  // rows + 1, first 0, last tokens.size()

  int64_t rows() const { return offsets.empty() ? 0 : static_cast<int64_t>(offsets.size()) - 1; }
  int64_t length(int64_t row) const { return offsets[row + 1] - offsets[row]; }
  /// Throws INTERNAL unless the offsets cut the tokens into rows and each token is in [0, vocab).
  void validate(int64_t vocab) const;
};

/// A packed batch on the model's device, ready for a forward pass.
struct PackedBatch {
  at::Tensor tokens;     // int64 [T]
  at::Tensor positions;  // int64 [T], from 0 in each row
  at::Tensor offsets;    // int32 [rows + 1], on the CPU
  std::vector<int64_t> lengths;
  std::vector<int64_t> predicted;  // [T]: where the token that follows stands in the ragged array (for a
                                   // row's last: one past its end)
  int64_t max_length = 0;

  int64_t rows() const { return static_cast<int64_t>(lengths.size()); }
  int64_t size() const { return static_cast<int64_t>(predicted.size()); }
};

/// The first `lengths[row]` tokens of each row of `batch` named by `rows`, in that order.
PackedBatch pack_rows(const RaggedTokens& batch, std::span<const int64_t> rows,
                      std::span<const int64_t> lengths, at::Device device);

/// The entries of a per-token array that belong to the tokens which a packed batch predicts.
template <typename T>
std::vector<T> gather_predicted(std::span<const T> values, const PackedBatch& batch) {
  std::vector<T> result(batch.predicted.size());
  for (size_t i = 0; i < result.size(); ++i) {
    if (static_cast<size_t>(batch.predicted[i]) < values.size()) result[i] = values[batch.predicted[i]];
  }
  return result;
}

/// Splits `rows` into micro-batches of at most `token_budget` tokens (a longer row stands alone), `lengths`
/// by row. Rows are sorted by length, longest first and ties in the order given, so that a micro-batch holds
/// like lengths. Rows of length 0 are left out.
std::vector<std::vector<int64_t>> micro_batches(std::span<const int64_t> rows,
                                                std::span<const int64_t> lengths, int64_t token_budget);

}  // namespace spa
