#include "engine/kv_cache.h"

#include <algorithm>

namespace spa {
namespace {

int64_t blocks_for(int64_t tokens) { return (tokens + KvCache::block_tokens - 1) / KvCache::block_tokens; }

}  // namespace

KvCache::KvCache(const ModelConfig& config, int64_t slots, int64_t max_tokens, at::ScalarType dtype,
                 at::Device device)
    : max_blocks_(slots * blocks_for(max_tokens)), tables_(slots), lengths_(slots, 0) {
  pool_ = at::empty({0, config.layers, kernels::kv_block_size(config.kv_heads, config.head_dim)},
                    at::TensorOptions().dtype(dtype).device(device));
}

void KvCache::enlarge_pool() {
  const auto old_size = static_cast<int64_t>(references_.size());
  const int64_t size = std::min(max_blocks_, std::max<int64_t>(16, 2 * old_size));
  // Unwritten places must hold numbers: attention multiplies masked-out values by zero.
  const at::Tensor pool = at::empty({size, pool_.size(1), pool_.size(2)}, pool_.options());
  pool.narrow(0, 0, old_size).copy_(pool_);
  pool.narrow(0, old_size, size - old_size).zero_();
  pool_ = pool;
  references_.resize(size, 0);
  for (int64_t block = size; block-- > old_size;) free_.push_back(static_cast<int32_t>(block));
}

int32_t KvCache::take_block() {
  if (free_.empty()) enlarge_pool();
  const int32_t block = free_.back();
  free_.pop_back();
  references_[block] = 1;
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
