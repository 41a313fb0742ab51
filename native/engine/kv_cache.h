// Keys and values of past tokens, in blocks from one pool.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engine/model_config.h"
#include "kernels/kv_attention.h"

namespace spa {

/// Slots own lists of blocks of `block_tokens` tokens; a block holds keys and values of all layers. It may
/// belong to several slots (a forked prefix) and is copied before a slot writes into a shared one. The pool
/// is there from the first block that is taken, in the size that full slots need, so that it never moves and
/// what it takes is known before; it is gone when no block is in use and release_pool() is called.
class KvCache {
 public:
  static constexpr int64_t block_tokens = kernels::kv_block_tokens;

  /// Blocks, layers and block size of the pool that full slots need.
  static std::vector<int64_t> pool_shape(const ModelConfig& config, int64_t slots, int64_t max_tokens);

  KvCache(const ModelConfig& config, int64_t slots, int64_t max_tokens, at::ScalarType dtype,
          at::Device device);

  /// Tokens whose keys and values are stored, or for which place has been taken by grow().
  int64_t length(int64_t slot) const { return lengths_[slot]; }
  /// Blocks of a slot in order; the last may be partly filled.
  const std::vector<int32_t>& blocks(int64_t slot) const { return tables_[slot]; }

  /// Grows a slot to `length` tokens, so that positions [length(slot), length) can be written: takes blocks,
  /// and copies a shared partial one.
  void grow(int64_t slot, int64_t length);
  /// Cuts a slot back to `length` tokens.
  void truncate(int64_t slot, int64_t length);
  /// Makes the empty slot `to` a copy of `from` that shares all its blocks.
  void fork(int64_t from, int64_t to);

  /// Frees the pool when no block is in use; the next grow() makes it anew.
  void release_pool();

  /// One layer of the pool, [blocks, kernels::kv_block_size(kv_heads, head_dim)]; after a grow().
  at::Tensor layer(int64_t layer) const { return pool_.select(1, layer); }

  int64_t blocks_in_use() const { return static_cast<int64_t>(references_.size() - free_.size()); }

 private:
  int32_t take_block();
  void drop_block(int32_t block);
  void make_pool();

  std::vector<int64_t> shape_;  // of the pool
  at::TensorOptions options_;
  at::Tensor pool_;      // undefined while there is none
  int32_t written_ = 0;  // blocks that have been in use since the pool was made: they hold numbers
  std::vector<int32_t> references_;  // by block: slots that hold it
  std::vector<int32_t> free_;        // used as a stack
  std::vector<std::vector<int32_t>> tables_;
  std::vector<int64_t> lengths_;
};

}  // namespace spa
