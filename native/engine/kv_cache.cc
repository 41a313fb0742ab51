#include "engine/kv_cache.h"

#include <algorithm>

namespace spa {
namespace {

int64_t blocks_for(int64_t tokens) { return (tokens + KvCache::block_tokens - 1) / KvCache::block_tokens; }

}  // namespace

std::vector<int64_t> KvCache::pool_shape(const ModelConfig& config, int64_t slots, int64_t max_tokens) {
  return {slots * blocks_for(max_tokens), config.layers,
          kernels::kv_block_size(config.kv_heads, config.head_dim)};
}

KvCache::KvCache(const ModelConfig& config, int64_t slots, int64_t max_tokens, at::ScalarType dtype,
                 at::Device device)
    : shape_(pool_shape(config, slots, max_tokens)),
      options_(at::TensorOptions().dtype(dtype).device(device)),
      tables_(slots),
      lengths_(slots, 0) {}

void KvCache::make_pool() {
  pool_ = at::empty(shape_, options_);
  written_ = 0;
  references_.assign(shape_[0], 0);
  free_.clear();
  for (int64_t block = shape_[0]; block-- > 0;) free_.push_back(static_cast<int32_t>(block));
}

void KvCache::release_pool() {
  if (blocks_in_use() > 0) return;
  pool_.reset();
  references_.clear();
  free_.clear();
}

int32_t KvCache::take_block() {
  if (!pool_.defined()) make_pool();
  const int32_t block = free_.back();
  free_.pop_back();
  references_[block] = 1;
  if (block >= written_) {
    // Unwritten places must hold numbers: attention multiplies masked-out values by zero. Block by block, so
    // that memory which is never needed is never touched.
    pool_.select(0, block).zero_();
    written_ = block + 1;
  }
  return block;
}

void KvCache::drop_block(int32_t block) {
  if (--references_[block] == 0) free_.push_back(block);
}

void KvCache::grow(int64_t slot, int64_t length) {
  auto& table = tables_[slot];
  if (length <= lengths_[slot]) return;
  const bool partial = lengths_[slot] % block_tokens != 0;
  if (partial && references_[table.back()] > 1) {
    const int32_t copy = take_block();
    pool_.select(0, copy).copy_(pool_.select(0, table.back()));
    drop_block(table.back());
    table.back() = copy;
  }
  while (static_cast<int64_t>(table.size()) < blocks_for(length)) table.push_back(take_block());
  lengths_[slot] = length;
}

void KvCache::truncate(int64_t slot, int64_t length) {
  auto& table = tables_[slot];
  while (static_cast<int64_t>(table.size()) > blocks_for(length)) {
    drop_block(table.back());
    table.pop_back();
  }
  lengths_[slot] = std::min(lengths_[slot], length);
}

void KvCache::fork(int64_t from, int64_t to) {
  tables_[to] = tables_[from];
  lengths_[to] = lengths_[from];
  for (const int32_t block : tables_[to]) ++references_[block];
}

}  // namespace spa
