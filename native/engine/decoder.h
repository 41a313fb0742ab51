// The decoder: embedding, layers, final norm. One layer definition for packed sequences and for the KV cache.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engine/model_config.h"
#include "engine/packing.h"
#include "engine/weights.h"

namespace spa {

class KvCache;

/// What the backward pass of one layer needs from the forward pass.
struct LayerActivations;

/// Filled by a forward pass, consumed by one backward pass.
struct Activations {
  std::vector<LayerActivations> layers;
  at::Tensor final_input;  // [T, hidden] before the final norm
};

/// New tokens of several slots, each row attending to its slot's cache and to the tokens before it in the row.
struct CachedBatch {
  PackedBatch rows;                   // positions go on where each slot's cache ends
  std::vector<int64_t> slots;         // one per row
};

class Decoder {
 public:
  Decoder() = default;
  Decoder(const ModelConfig& config, DecoderWeights weights);

  /// Hidden states after the final norm, [T, hidden], causal within each row.
  at::Tensor hidden(const PackedBatch& batch) const;
  /// The same, keeping what backward() needs.
  at::Tensor hidden(const PackedBatch& batch, Activations& saved) const;
  /// Adds the gradients of all backbone weights to `gradients` (float32) given d loss / d hidden [T, hidden]. Uses up `saved`.
  void backward(const PackedBatch& batch, Activations& saved, const at::Tensor& grad_hidden,
                const DecoderWeights& gradients) const;

  /// Hidden states of new tokens, whose keys and values are written to `cache` (already grown).
  at::Tensor hidden(const CachedBatch& batch, KvCache& cache) const;

  const DecoderWeights& weights() const { return weights_; }

 private:
  ModelConfig config_;
  DecoderWeights weights_;
  at::Tensor rope_cos_, rope_sin_;  // [max position + 1, head_dim / 2], float32
};

}  // namespace spa
