// The decoder: embedding, layers, final norm. One layer definition for packed sequences and for the KV cache.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/model_config.h"
#include "engine/packing.h"
#include "engine/weights.h"
#include "kernels/attention.h"
#include "kernels/kv_attention.h"
#include "kernels/linear.h"
#include "kernels/rope.h"

namespace spa {

/// What the backward pass of one layer needs from the forward pass; [T, ...] in the model's dtype unless
/// noted.
struct LayerActivations {
  at::Tensor input, input_inverse_rms, input_normed;  // residual stream before the layer
  at::Tensor query_key_raw, query_key_inverse_rms;    // before the q/k norm, when there is one
  at::Tensor qkv;                                     // rotated
  kernels::AttentionResult attention;
  at::Tensor middle, middle_inverse_rms, middle_normed;  // residual stream between attention and MLP
  at::Tensor gate_up, activated;
};

/// Filled by a forward pass, used up by one backward pass.
struct Activations {
  std::vector<LayerActivations> layers;
  at::Tensor final_input, final_inverse_rms;
};

/// New tokens of some slots: row i goes on where slot i's cache ends.
struct CachedBatch {
  at::Tensor tokens;     // int64 [T]
  at::Tensor positions;  // int64 [T]
  kernels::KvRows rows;
};

/// `tokens` are the new ones of all slots end to end, `counts[i]` of them for slots[i], whose cache holds
/// `starts[i]` tokens before them and has been grown already.
CachedBatch cached_batch(const KvCache& cache, std::span<const int32_t> slots,
                         std::span<const int64_t> starts, std::span<const int64_t> counts,
                         std::span<const int32_t> tokens, at::Device device);

class Decoder {
 public:
  Decoder() = default;
  Decoder(const ModelConfig& config, DecoderWeights weights);

  /// Makes ready for positions below `positions` and for the current numbers of the weights. Must be called
  /// before the other members, which are const and may run on several threads at once.
  void prepare(int64_t positions);
  /// The weights have changed: the next prepare() packs them again.
  void forget_packed() { packed_ = false; }

  /// Hidden states after the final norm, [T, hidden], causal within each row. With `saved` keeps what
  /// backward() needs.
  at::Tensor hidden(const PackedBatch& batch, Activations* saved = nullptr) const;
  /// Adds the gradients of all backbone weights to `gradients` (float32) given d loss / d hidden [T, hidden].
  void backward(const PackedBatch& batch, Activations& saved, const at::Tensor& grad_hidden,
                const DecoderWeights& gradients) const;
  /// Hidden states of new tokens [T, hidden]; their keys and values are written to `cache`.
  at::Tensor hidden(const CachedBatch& batch, const KvCache& cache) const;
  /// Logits [T, vocab] of hidden states.
  at::Tensor logits(const at::Tensor& hidden) const;

  const DecoderWeights& weights() const { return weights_; }

 private:
  /// A linear layer, with its weight also in the layout of the CPU kernels when that is the faster one.
  struct Projection {
    at::Tensor weight, bias;
    kernels::PackedWeight packed;

    void pack();
    at::Tensor operator()(const at::Tensor& x, const at::Tensor& add = {}) const;
  };
  struct Layer {
    Projection qkv, output, gate_up, down;
  };

  template <typename Attend>
  at::Tensor forward(const at::Tensor& tokens, const at::Tensor& positions, const Attend& attend,
                     Activations* saved) const;
  void normalise_heads(const at::Tensor& qkv, const LayerWeights& weights, LayerActivations& saved) const;
  void normalise_heads_backward(const at::Tensor& grad_qkv, const LayerWeights& weights,
                                const LayerActivations& saved, const LayerWeights& gradients) const;
  at::Tensor layer_backward(const PackedBatch& batch, const LayerWeights& weights,
                            const LayerActivations& saved, const at::Tensor& grad_output,
                            const LayerWeights& gradients) const;

  ModelConfig config_;
  DecoderWeights weights_;
  kernels::HeadShape shape_;
  kernels::RopeTables rope_;
  std::vector<Layer> layers_;
  Projection head_;
  bool packed_ = false;
};

}  // namespace spa
