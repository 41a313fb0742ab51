// Keys and values of past tokens, in blocks from one pool per layer.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engine/model_config.h"

namespace spa {

/// Slots own lists of blocks of `block_size` tokens. A block may belong to several slots (a forked prefix); it is copied before
/// a slot writes into a shared one. The pool doubles when it is used up, up to what the slots can need.
class KvCache {
 public:
  static constexpr int64_t block_size = 16;

  KvCache(const ModelConfig& config, int64_t slots, int64_t max_tokens, at::ScalarType dtype, at::Device device);

  /// Tokens whose keys and values are stored.
  int64_t length(int64_t slot) const { return lengths_[slot]; }
  /// Blocks of a slot in order; the last may be partly filled.
  const std::vector<int32_t>& blocks(int64_t slot) const { return tables_[slot]; }

  /// Grows a slot to `length` tokens, so that positions [length(slot), length) can be written: takes blocks, and copies a shared
  /// partial one.
  void grow(int64_t slot, int64_t length);
  /// Cuts a slot back to `length` tokens.
  void truncate(int64_t slot, int64_t length);
  /// Makes the empty slot `to` a copy of `from` that shares all its blocks.
  void fork(int64_t from, int64_t to);
  void release_all();

  /// Pools of a layer, see kernels/decode_attention.h for the layout. They move when the pool grows: ask again after grow().
  const at::Tensor& keys(int64_t layer) const { return keys_[layer]; }
  const at::Tensor& values(int64_t layer) const { return values_[layer]; }

  int64_t blocks_in_use() const { return static_cast<int64_t>(references_.size() - free_.size()); }

 private:
  int32_t take_block();
  void drop_block(int32_t block);
  void enlarge_pool();

  int64_t max_blocks_;
  std::vector<at::Tensor> keys_, values_;  // one per layer
  std::vector<int32_t> references_;        // by block
  std::vector<int32_t> free_;              // used as a stack
  std::vector<std::vector<int32_t>> tables_;
  std::vector<int64_t> lengths_;
};

}  // namespace spa
