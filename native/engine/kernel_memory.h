// A model as the formulas of pass_memory.cc see it, and what kernels need while they run, beside operands and
// results. They read bfloat16 as it is, but for the CPU's row kernels and attention, which widen their
// operands; tiles want one side of a product packed.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/pass_memory.h"
#include "kernels/attention.h"
#include "kernels/dispatch.h"

namespace spa {

constexpr int64_t float_size = sizeof(float);

/// A model with the sizes that the formulas are made of, in numbers a token unless it says otherwise.
struct Run {
  const ModelConfig& config;
  const PassSettings& settings;
  int64_t hidden, inner, query, key_value, qkv;
  int64_t width;           // bytes of a number in the weights' type
  int64_t panel_elements;  // of the largest matrix that row kernels take
  bool side_by_side, tiles;
  int64_t backbone_elements, trained_elements;  // weights, and those that an update changes

  Run(const ModelConfig& model_config, const PassSettings& pass_settings);

  bool is(kernels::Product product, int64_t out, int64_t in) const {
    return kernels::product_of(out, in, settings.dtype, settings.device) == product;
  }
  bool is_narrow() const { return width == 2; }
  bool on_cpu() const { return settings.device.is_cpu(); }
  kernels::HeadShape heads() const { return {config.heads, config.kv_heads, config.head_dim, 1.0f}; }
  /// Of an adapter's activations between A and B.
  int64_t low_rank() const {
    if (!settings.adapter) return 0;
    const auto& targets = settings.adapter->targets;
    return settings.adapter->rank * std::count(targets.begin(), targets.end(), true) * width;
  }
};

/// The head's chunk of logits (log_prob.cc), or with `training` also its gradient.
int64_t head_bytes(const Run& run, int64_t tokens, bool training);

/// Whether row kernels take a matrix as bfloat16: they widen operands and results.
bool is_widened(const Run& run, int64_t inputs, int64_t outputs);

/// Bytes a token that a product x W^T (+ residual) needs beside x and its result.
int64_t product_bytes(const Run& run, int64_t inputs, int64_t outputs, bool residual = false);

/// What the CPU's attention widens, in bytes a token: queries, keys and values, and its result.
int64_t widened_attention(const Run& run);

/// A sequence's attention on a GPU (attention.cc): operands in float32, the gradients in one piece at last.
int64_t attention_bytes(const Run& run, int64_t row, bool training);

/// A prompt's attention over the cache on a GPU (kv_attention.cc): as above, of keys and values that were
/// gathered.
int64_t prompt_attention_bytes(const Run& run, int64_t queries, int64_t row);

/// A decode step's attention on a GPU (cuda/decode_attention.cu): shares of the output where slots are split.
int64_t decode_bytes(const Run& run, int64_t slots, int64_t row);

/// The dropped-out copy of an adapter's input, in bytes a token, and what making it takes: the CPU does so in
/// float32.
struct DropoutBytes {
  int64_t copy = 0, making = 0;
};
DropoutBytes dropout_bytes(const Run& run, int64_t inputs);

/// d loss / d x of a product, beside the gradients of output and input.
int64_t input_gradient_bytes(const Run& run, int64_t count, int64_t inputs, int64_t outputs);

int64_t weight_gradient_bytes(const Run& run, int64_t count, int64_t inputs, int64_t outputs);

}  // namespace spa
