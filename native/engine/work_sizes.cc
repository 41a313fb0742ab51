#include "engine/work_sizes.h"

#include "engine/parallel.h"

namespace spa {

int64_t inference_tokens(const ModelConfig& config, at::Device device) {
  // Long enough for full speed of any device's products, for models whose activations are large.
  constexpr int64_t large_model_tokens = 2048, small_model_tokens = 8192;
  return runs_side_by_side(config, device) ? small_model_tokens : large_model_tokens;
}

}  // namespace spa
