// In what pieces the engine works on a model: what bounds its memory beside weights and activations.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "engine/model_config.h"

namespace spa {

struct WorkSizes {
  bool side_by_side = false;     // rows run on one thread each (see parallel.h)
  int64_t chunk_tokens = 0;      // side by side: tokens that a thread takes through the model at a time
  int64_t inference_tokens = 0;  // tokens of one pass without gradients (scoring, prefill)
  int64_t logits = 0;            // that exist at a time in scoring and training, in numbers
  int64_t sampling_logits = 0;   // and while sampling
  int64_t attention_scores = 0;  // of one sequence, all heads, that exist at a time on a GPU
  int64_t packed_bytes = 0;      // copies of weights in the layout of the CPU kernels
  int64_t packed_elements = 0;   // the largest matrix that has such a copy; 0 on a GPU
  int64_t cache_block_tokens = 0;
  bool tiles = false;  // products and head on AMX tiles (see tile_linear.h)
};

WorkSizes work_sizes(const ModelConfig& config, at::ScalarType dtype, at::Device device);

}  // namespace spa
