#include "engine/work_sizes.h"

#include "engine/kv_cache.h"
#include "engine/parallel.h"
#include "kernels/attention.h"
#include "kernels/dispatch.h"
#include "kernels/log_prob.h"

namespace spa {
namespace {

// Long enough for full speed of any device's products, for models whose activations are large.
constexpr int64_t large_model_tokens = 2048, small_model_tokens = 8192;

int64_t packed_bytes_of(const ModelConfig& c, at::ScalarType dtype, at::Device device) {
  const auto packed = [&](int64_t out, int64_t in) {
    const bool used = kernels::product_of(out, in, dtype, device) == kernels::Product::rows;
    return used ? kernels::cpu::panel_elements(in, out) * static_cast<int64_t>(sizeof(float)) : 0;
  };
  const int64_t layer = packed(c.qkv_size(), c.hidden) + packed(c.hidden, c.query_size()) +
                        packed(2 * c.intermediate, c.hidden) + packed(c.hidden, c.intermediate);
  return c.layers * layer + packed(c.vocab, c.hidden);
}

}  // namespace

WorkSizes work_sizes(const ModelConfig& config, at::ScalarType dtype, at::Device device) {
  WorkSizes sizes;
  sizes.side_by_side = runs_side_by_side(config, device);
  sizes.chunk_tokens = side_by_side_chunk_tokens;
  sizes.inference_tokens = sizes.side_by_side ? small_model_tokens : large_model_tokens;
  sizes.logits = kernels::logits_budget(device);
  sizes.sampling_logits = int64_t{1} << 24;
  sizes.attention_scores = kernels::attention_scores;
  sizes.packed_bytes = packed_bytes_of(config, dtype, device);
  sizes.packed_elements = kernels::largest_panels(dtype, device);
  sizes.cache_block_tokens = KvCache::block_tokens;
  const auto tiled = [&](int64_t out, int64_t in) {
    return kernels::product_of(out, in, dtype, device) == kernels::Product::tiles;
  };
  sizes.tiles = tiled(config.vocab, config.hidden) && tiled(config.intermediate, config.qkv_size());
  return sizes;
}

}  // namespace spa
