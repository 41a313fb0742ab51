// The decoder: embedding, layers, final norm. One layer definition for packed sequences and for the KV cache.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
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

/// What a layer's backward pass needs from the forward pass; [T, ...] in the model's dtype unless noted.
struct LayerActivations {
  at::Tensor input, input_inverse_rms, input_normed;  // residual stream before the layer
  at::Tensor query_key_raw, query_key_inverse_rms;    // before the q/k norm, when there is one
  at::Tensor qkv;                                     // rotated
  kernels::AttentionResult attention;
  at::Tensor middle, middle_inverse_rms, middle_normed;  // residual stream between attention and MLP
  at::Tensor gate_up, activated;
  std::array<at::Tensor, target_count> low_rank;  // [T, rank]: scale * x A^T of each target of an adapter
};

/// Where a training pass takes its dropout masks from.
struct DropoutSource {
  uint64_t seed = 0;
  uint64_t update = 0;
  at::Tensor rows;  // int64 [T] on the model's device: the tokens' numbers in the whole, uncut batch
};

/// (What all of it takes is in pass_memory.cc, whose formulas follow the passes step by step.)
/// How much of each layer a forward pass keeps for the backward pass. What is not kept is computed again from
/// what is, by the same kernels on the same numbers: gradients are the same to the last bit.
enum class Keep {
  nothing,   // no backward pass follows
  inputs,    // the layer's input: activation checkpointing (Chen et al. 2016, arXiv:1604.06174)
  products,  // not the outputs of norms and SwiGLU, which cost little to compute again
  everything,
};

/// Filled by a forward pass, used up by one backward pass.
struct Activations {
  std::optional<DropoutSource> dropout;  // set before the forward pass; absent: no dropout
  Keep keep = Keep::everything;
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
  /// `backbone` with an adapter on it. The backbone's weights are shared, panels included; the value
  /// head is the adapter's. `weights` are views by an adapter's layout.
  Decoder(const Decoder& backbone, const AdapterConfig& adapter, DecoderWeights weights);

  /// Positions that the rotary tables hold at first; they grow to what is needed, or twice what they were.
  static constexpr int64_t first_positions = 512;

  /// Makes ready for positions below `positions` and for the current numbers of the weights. Must be called
  /// before the other members, which are const and may run on several threads at once.
  void prepare(int64_t positions);
  /// The weights have changed: the next prepare() fills panels again.
  void forget_panels();

  /// Hidden states after the final norm, [T, hidden], causal within each row. With `activations` keeps what
  /// backward() needs.
  at::Tensor hidden(const PackedBatch& batch, Activations* activations = nullptr) const;
  /// Adds to `gradients` (float32) those of all weights that it has, given d loss / d hidden [T, hidden].
  void backward(const PackedBatch& batch, Activations& activations, const at::Tensor& grad_hidden,
                const DecoderWeights& gradients) const;
  /// Hidden states of new tokens [T, hidden]; their keys and values are written to `cache`.
  at::Tensor hidden(const CachedBatch& batch, const KvCache& cache) const;
  /// Logits [T, vocab] of hidden states, float32 where the vocabulary is large.
  at::Tensor logits(const at::Tensor& hidden) const;

  const DecoderWeights& weights() const { return weights_; }
  /// Whether training passes need a DropoutSource.
  bool has_dropout() const { return adapter_ && adapter_->dropout > 0; }

 private:
  /// A linear layer, with its weight also in the layout of the CPU kernels when that is the faster one.
  struct Projection {
    at::Tensor weight, bias;
    kernels::PanelWeight panels;

    void fill_panels();
    at::Tensor operator()(const at::Tensor& x, const at::Tensor& add = {}) const;
    /// y += x W^T
    void add_to(const at::Tensor& y, const at::Tensor& x) const;
  };
  struct Layer {
    Projection qkv, output, gate_up, down;
  };
  /// What a model and the adapters on it share.
  struct Backbone {
    std::vector<Layer> layers;
    Projection head;
    bool has_panels = false;
  };
  struct AdapterProjection {
    Projection a, b;  // undefined weights where the adapter has no such target
  };

  /// One layer: `x` [T, hidden] -> [T, hidden]. Leaves in `kept` what `keep` says; the rest is freed on the
  /// way.
  template <typename Attend>
  at::Tensor layer_forward(size_t index, const at::Tensor& x, const at::Tensor& positions,
                           const Attend& attend, Keep keep, const Activations* activations,
                           LayerActivations& kept) const;
  template <typename Attend>
  at::Tensor forward(const at::Tensor& tokens, const at::Tensor& positions, const Attend& attend,
                     Activations* activations) const;
  /// Adds the adapter's part to y, the output of the projection that holds `target`, whose input was x.
  void adapt(size_t layer, Target target, const at::Tensor& x, const at::Tensor& y, LayerActivations& kept,
             const Activations* activations) const;
  /// Adds the gradients of A and B to `gradients` and what flows through them to grad_x.
  void adapt_backward(size_t layer, Target target, const at::Tensor& grad_y, const at::Tensor& x,
                      const Activations& activations, LayerActivations& kept, const at::Tensor& grad_x,
                      const LayerWeights& gradients) const;
  at::Tensor adapter_dropout(size_t layer, Target target, const at::Tensor& x,
                             const Activations* activations) const;
  void normalise_heads(const at::Tensor& qkv, const LayerWeights& weights, LayerActivations& kept) const;
  void normalise_heads_backward(const at::Tensor& grad_qkv, const LayerWeights& weights,
                                const LayerActivations& kept, const LayerWeights& gradients) const;
  /// Frees the parts of `kept` as the pass goes on.
  at::Tensor layer_backward(const PackedBatch& batch, size_t layer, const Activations& activations,
                            LayerActivations& kept, const at::Tensor& grad_output,
                            const LayerWeights& gradients) const;

  ModelConfig config_;
  DecoderWeights weights_;
  kernels::HeadShape shape_;
  kernels::RopeTables rope_;
  std::shared_ptr<Backbone> backbone_;
  std::optional<AdapterConfig> adapter_;
  std::vector<std::array<AdapterProjection, target_count>> adapters_;  // by layer; empty without an adapter
  bool adapter_has_panels_ = false;
};

}  // namespace spa
