// In what pieces the engine works on a model where nothing else says so.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "engine/model_config.h"

namespace spa {

/// Tokens of one pass without gradients: scoring, prompts.
int64_t inference_tokens(const ModelConfig& config, at::Device device);

/// Logits that exist at a time while sampling, in numbers.
constexpr int64_t sampling_logits = int64_t{1} << 24;

/// Rows that a thread samples through a whole window before the next ones: so many that products are
/// efficient, so few that their keys and values stay in its caches from step to step.
constexpr size_t sampling_rows = 48;

}  // namespace spa
