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
  /// Throws BAD_ARGUMENT when offsets lie or a token is outside [0, vocab).
  void validate(int64_t vocab) const;
};

/// A packed batch on the model's device, ready for a forward pass.
struct PackedBatch {
  at::Tensor tokens;     // int64 [T]
  at::Tensor positions;  // int64 [T], from 0 in each row
  at::Tensor offsets;    // int32 [rows + 1]
  std::vector<int64_t> lengths;
  int64_t max_length = 0;

  int64_t rows() const { return static_cast<int64_t>(lengths.size()); }
  int64_t size() const { return tokens.size(0); }
};

/// The rows of `batch` named by `rows`, in that order.
PackedBatch pack_rows(const RaggedTokens& batch, std::span<const int64_t> rows, at::Device device);

/// Splits rows into micro-batches of at most `token_budget` tokens (a longer row stands alone). Rows are sorted by length,
/// longest first and ties by index, so that a micro-batch holds like lengths. Every non-empty row occurs once.
std::vector<std::vector<int64_t>> micro_batches(const RaggedTokens& batch, int64_t token_budget);

}  // namespace spa
