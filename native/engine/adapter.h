// Low-rank adapters (LoRA; Hu et al. 2021, arXiv:2106.09685): y = x W^T + scale * (x A^T) B^T, W frozen.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/model_config.h"
#include "kernels/dropout.h"

namespace spa {

/// The projections of a layer that an adapter may change.
enum class Target : uint8_t { q, k, v, o, gate, up, down };
constexpr int64_t target_count = 7;

/// Meanings as in PEFT's adapter_config.json.
struct AdapterConfig {
  int64_t rank = 0;
  double scale = 0;    // alpha / rank, or alpha / sqrt(rank) when rank-stabilised
  double dropout = 0;  // share of the adapter's inputs that a training pass leaves out
  std::array<bool, target_count> targets{};

  bool operator==(const AdapterConfig&) const = default;
};

/// Rows and columns of a target's weight, and where its rows begin in the projection that the engine runs: q,
/// k and v are one, gate and up are one.
struct TargetShape {
  int64_t out = 0;
  int64_t in = 0;
  int64_t first = 0;
};
TargetShape target_shape(const ModelConfig& config, Target target);

/// The adapter's parameters under PEFT's names in the order in which they are stored and written: by layer
/// and target, A [rank, in] before B [out, rank]; at last the weight and bias of a value head.
std::vector<ParameterSpec> adapter_specs(const ModelConfig& config, const AdapterConfig& adapter,
                                         bool value_head);

/// The dropout mask of a target's input in one update.
kernels::DropoutKey dropout_key(uint64_t seed, uint64_t update, int64_t layer, Target target,
                                double probability);

}  // namespace spa
