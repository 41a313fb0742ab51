#include "engine/decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/dispatch.h"
#include "kernels/embedding.h"
#include "kernels/rms_norm.h"
#include "kernels/swiglu.h"

namespace spa {

CachedBatch cached_batch(const KvCache& cache, std::span<const int32_t> slots,
                         std::span<const int64_t> starts, std::span<const int64_t> counts,
                         std::span<const int32_t> tokens, at::Device device) {
  const auto n = static_cast<int64_t>(slots.size());
  const auto total = static_cast<int64_t>(tokens.size());
  size_t blocks = 0;
  for (const int32_t slot : slots) blocks = std::max(blocks, cache.blocks(slot).size());
  CachedBatch batch;
  batch.tokens = at::empty({total}, at::kLong);
  batch.positions = at::empty({total}, at::kLong);
  batch.rows.offsets = at::empty({n + 1}, at::kInt);
  batch.rows.starts = at::empty({n}, at::kInt);
  batch.rows.block_tables = at::zeros({n, static_cast<int64_t>(blocks)}, at::kInt);
  std::copy(tokens.begin(), tokens.end(), batch.tokens.data_ptr<int64_t>());
  auto* positions = batch.positions.data_ptr<int64_t>();
  auto* offsets = batch.rows.offsets.data_ptr<int32_t>();
  auto* first = batch.rows.starts.data_ptr<int32_t>();
  auto* table = batch.rows.block_tables.data_ptr<int32_t>();
  int64_t next = 0;
  for (int64_t i = 0; i < n; ++i) {
    offsets[i] = static_cast<int32_t>(next);
    first[i] = static_cast<int32_t>(starts[i]);
    for (int64_t k = 0; k < counts[i]; ++k) positions[next++] = starts[i] + k;
    const auto& own = cache.blocks(slots[i]);
    std::copy(own.begin(), own.end(), table + i * static_cast<int64_t>(blocks));
  }
  offsets[n] = static_cast<int32_t>(next);
  if (!device.is_cpu()) {
    batch.tokens = batch.tokens.to(device);
    batch.positions = batch.positions.to(device);
    batch.rows.device_starts = batch.rows.starts.to(device, at::kLong);
    batch.rows.device_tables = batch.rows.block_tables.to(device, at::kLong);
  }
  return batch;
}

void Decoder::Projection::fill_panels() {
  if (kernels::product_of(weight, weight) == kernels::Product::rows) panels = kernels::PanelWeight(weight);
}

at::Tensor Decoder::Projection::operator()(const at::Tensor& x, const at::Tensor& add) const {
  return panels.defined() ? kernels::linear(x, panels, bias, add) : kernels::linear(x, weight, bias, add);
}

void Decoder::Projection::add_to(const at::Tensor& y, const at::Tensor& x) const {
  if (panels.defined()) {
    kernels::add_linear_(y, x, panels);
  } else {
    kernels::add_linear_(y, x, weight);
  }
}

Decoder::Decoder(const ModelConfig& config, DecoderWeights weights)
    : config_(config),
      weights_(std::move(weights)),
      shape_{config.heads, config.kv_heads, config.head_dim,
             static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)))},
      backbone_(std::make_shared<Backbone>()) {
  for (const LayerWeights& w : weights_.layers) {
    backbone_->layers.push_back({{w.qkv, w.qkv_bias, {}},
                                 {w.output, w.output_bias, {}},
                                 {w.gate_up, w.gate_up_bias, {}},
                                 {w.down, w.down_bias, {}}});
  }
  backbone_->head = {weights_.head, {}, {}};
}

Decoder::Decoder(const Decoder& backbone, const AdapterConfig& adapter, DecoderWeights weights)
    : config_(backbone.config_),
      weights_(backbone.weights_),
      shape_(backbone.shape_),
      rope_(backbone.rope_),
      backbone_(backbone.backbone_),
      adapter_(adapter),
      adapters_(weights.layers.size()) {
  for (size_t i = 0; i < adapters_.size(); ++i) {
    weights_.layers[i].adapter = weights.layers[i].adapter;
    for (int64_t target = 0; target < target_count; ++target) {
      const LowRank& low_rank = weights.layers[i].adapter[target];
      adapters_[i][target] = {{low_rank.a, {}, {}}, {low_rank.b, {}, {}}};
    }
  }
  weights_.value_weight = weights.value_weight;
  weights_.value_bias = weights.value_bias;
}

void Decoder::forget_panels() { (adapter_ ? adapter_has_panels_ : backbone_->has_panels) = false; }

void Decoder::prepare(int64_t positions) {
  if (!rope_.cosine.defined() || rope_.cosine.size(0) < positions) {
    const auto frequencies = rope_inverse_frequencies(config_);
    const int64_t size =
        std::max<int64_t>(positions, rope_.cosine.defined() ? 2 * rope_.cosine.size(0) : first_positions);
    rope_ = kernels::rope_tables(at::tensor(frequencies, at::kDouble), size, weights_.embedding.device());
  }
  if (!backbone_->has_panels) {
    for (Layer& layer : backbone_->layers) {
      layer.qkv.fill_panels();
      layer.output.fill_panels();
      layer.gate_up.fill_panels();
      layer.down.fill_panels();
    }
    backbone_->head.fill_panels();
    backbone_->has_panels = true;
  }
  if (!adapter_ || adapter_has_panels_) return;
  for (auto& layer : adapters_) {
    for (AdapterProjection& projection : layer) {
      if (!projection.a.weight.defined()) continue;
      projection.a.fill_panels();
      projection.b.fill_panels();
    }
  }
  adapter_has_panels_ = true;
}

template <typename Attend>
at::Tensor Decoder::layer_forward(size_t index, const at::Tensor& x, const at::Tensor& positions,
                                  const Attend& attend, Keep keep, const Activations* activations,
                                  LayerActivations& kept) const {
  const LayerWeights& w = weights_.layers[index];
  const Layer& layer = backbone_->layers[index];
  const auto unless_kept = [keep](Keep least, at::Tensor& tensor) {
    if (keep < least) tensor.reset();
  };
  kept.input = x;
  auto input_norm = kernels::rms_norm(x, w.input_norm, config_.rms_eps);
  kept.input_normed = std::move(input_norm.output);
  kept.input_inverse_rms = std::move(input_norm.inverse_rms);
  kept.qkv = layer.qkv(kept.input_normed);
  for (const Target target : {Target::q, Target::k, Target::v})
    adapt(index, target, kept.input_normed, kept.qkv, kept, activations);
  unless_kept(Keep::everything, kept.input_normed);
  if (config_.qk_norm) normalise_heads(kept.qkv, w, kept);
  kernels::rope_(kept.qkv, config_.heads + config_.kv_heads, config_.head_dim, rope_, positions);
  kept.attention = attend(kept.qkv, static_cast<int64_t>(index));
  unless_kept(Keep::products, kept.qkv);
  unless_kept(Keep::products, kept.query_key_raw);
  kept.middle = layer.output(kept.attention.output, x);
  adapt(index, Target::o, kept.attention.output, kept.middle, kept, activations);
  unless_kept(Keep::products, kept.attention.output);
  auto post_norm = kernels::rms_norm(kept.middle, w.post_norm, config_.rms_eps);
  kept.middle_normed = std::move(post_norm.output);
  kept.middle_inverse_rms = std::move(post_norm.inverse_rms);
  kept.gate_up = layer.gate_up(kept.middle_normed);
  for (const Target target : {Target::gate, Target::up})
    adapt(index, target, kept.middle_normed, kept.gate_up, kept, activations);
  unless_kept(Keep::everything, kept.middle_normed);
  kept.activated = kernels::swiglu(kept.gate_up);
  unless_kept(Keep::products, kept.gate_up);
  const at::Tensor output = layer.down(kept.activated, kept.middle);
  adapt(index, Target::down, kept.activated, output, kept, activations);
  unless_kept(Keep::everything, kept.activated);
  if (keep <= Keep::inputs) {
    kept = {};
    kept.input = x;
  }
  return output;
}

template <typename Attend>
at::Tensor Decoder::forward(const at::Tensor& tokens, const at::Tensor& positions, const Attend& attend,
                            Activations* activations) const {
  at::Tensor x = kernels::embedding(weights_.embedding, tokens);
  if (activations != nullptr) activations->layers.resize(weights_.layers.size());
  const Keep keep = activations == nullptr ? Keep::nothing : activations->keep;
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    LayerActivations kept;
    x = layer_forward(i, x, positions, attend, keep, activations, kept);
    if (activations != nullptr) activations->layers[i] = std::move(kept);
  }
  auto norm = kernels::rms_norm(x, weights_.final_norm, config_.rms_eps);
  if (activations != nullptr) {
    activations->final_input = x;
    activations->final_inverse_rms = norm.inverse_rms;
  }
  return norm.output;
}

at::Tensor Decoder::hidden(const PackedBatch& batch, Activations* activations) const {
  const auto attend = [&](const at::Tensor& qkv, int64_t) {
    return kernels::attention(qkv, shape_, batch.offsets);
  };
  return forward(batch.tokens, batch.positions, attend, activations);
}

at::Tensor Decoder::hidden(const CachedBatch& batch, const KvCache& cache) const {
  const auto attend = [&](const at::Tensor& qkv, int64_t layer) {
    return kernels::AttentionResult{kernels::append_and_attend(qkv, cache.layer(layer), shape_, batch.rows),
                                    {}};
  };
  return forward(batch.tokens, batch.positions, attend, nullptr);
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const {
  const auto& head = backbone_->head;
  return head.panels.defined() ? head(hidden) : kernels::wide_linear(hidden, head.weight);
}

at::Tensor Decoder::adapter_dropout(size_t layer, Target target, const at::Tensor& x,
                                    const Activations* activations) const {
  if (!has_dropout() || activations == nullptr || !activations->dropout) return x;
  const auto& [seed, update, rows] = *activations->dropout;
  return kernels::dropout(x, rows,
                          dropout_key(seed, update, static_cast<int64_t>(layer), target, adapter_->dropout));
}

void Decoder::adapt(size_t layer, Target target, const at::Tensor& x, const at::Tensor& y,
                    LayerActivations& kept, const Activations* activations) const {
  const auto index = static_cast<size_t>(target);
  if (!adapter_ || !adapter_->targets[index]) return;
  const AdapterProjection& projection = adapters_[layer][index];
  const TargetShape shape = target_shape(config_, target);
  kept.low_rank[index] = projection.a(adapter_dropout(layer, target, x, activations)).mul_(adapter_->scale);
  projection.b.add_to(y.narrow(1, shape.first, shape.out), kept.low_rank[index]);
}

void Decoder::adapt_backward(size_t layer, Target target, const at::Tensor& grad_y, const at::Tensor& x,
                             const Activations& activations, LayerActivations& kept, const at::Tensor& grad_x,
                             const LayerWeights& gradients) const {
  const auto index = static_cast<size_t>(target);
  if (!adapter_ || !adapter_->targets[index]) return;
  const auto& [a, b] = weights_.layers[layer].adapter[index];
  const LowRank& gradient = gradients.adapter[index];
  const TargetShape shape = target_shape(config_, target);
  const at::Tensor grad = grad_y.narrow(1, shape.first, shape.out);
  kernels::accumulate_linear_gradient(grad, kept.low_rank[index], gradient.b);
  kept.low_rank[index].reset();
  const at::Tensor grad_low_rank = kernels::linear_input_gradient(grad, b).mul_(adapter_->scale);
  kernels::accumulate_linear_gradient(grad_low_rank, adapter_dropout(layer, target, x, &activations),
                                      gradient.a);
  grad_x.add_(adapter_dropout(layer, target, kernels::linear_input_gradient(grad_low_rank, a), &activations));
}

void Decoder::normalise_heads(const at::Tensor& qkv, const LayerWeights& w, LayerActivations& kept) const {
  const int64_t tokens = qkv.size(0), heads = config_.heads + config_.kv_heads;
  const at::Tensor part = qkv.narrow(1, 0, heads * config_.head_dim);
  kept.query_key_raw = part.clone(at::MemoryFormat::Contiguous).view({tokens, heads, config_.head_dim});
  kept.query_key_inverse_rms =
      kernels::head_norms_(qkv, config_.heads, config_.kv_heads, w.q_norm, w.k_norm, config_.rms_eps);
}

void Decoder::normalise_heads_backward(const at::Tensor& grad_qkv, const LayerWeights& w,
                                       const LayerActivations& kept, const LayerWeights& gradients) const {
  const int64_t tokens = grad_qkv.size(0), heads = config_.heads + config_.kv_heads;
  const at::Tensor target =
      grad_qkv.narrow(1, 0, heads * config_.head_dim).unflatten(1, {heads, config_.head_dim});
  const auto backward = [&](int64_t first, int64_t count, const at::Tensor& weight,
                            const at::Tensor& grad_weight) {
    const at::Tensor grad = target.narrow(1, first, count);
    grad.copy_(kernels::rms_norm_backward(
        grad.contiguous(), kept.query_key_raw.narrow(1, first, count).contiguous(), weight,
        kept.query_key_inverse_rms.narrow(1, first, count).reshape({tokens * count}), {}, grad_weight));
  };
  backward(0, config_.heads, w.q_norm, gradients.q_norm);
  backward(config_.heads, config_.kv_heads, w.k_norm, gradients.k_norm);
}

at::Tensor Decoder::layer_backward(const PackedBatch& batch, size_t layer, const Activations& activations,
                                   LayerActivations& kept, const at::Tensor& grad_output,
                                   const LayerWeights& g) const {
  const LayerWeights& w = weights_.layers[layer];
  const auto normed_again = [&](const at::Tensor& x, const at::Tensor& weight) {
    return kernels::rms_norm(x, weight, config_.rms_eps).output;
  };
  if (!kept.activated.defined()) kept.activated = kernels::swiglu(kept.gate_up);
  at::Tensor grad_activated = kernels::linear_input_gradient(grad_output, w.down);
  kernels::accumulate_linear_gradient(grad_output, kept.activated, g.down, g.down_bias);
  adapt_backward(layer, Target::down, grad_output, kept.activated, activations, kept, grad_activated, g);
  kept.activated.reset();
  at::Tensor grad_gate_up = kernels::swiglu_backward(grad_activated, kept.gate_up);
  grad_activated.reset();
  kept.gate_up.reset();
  if (!kept.middle_normed.defined()) kept.middle_normed = normed_again(kept.middle, w.post_norm);
  kernels::accumulate_linear_gradient(grad_gate_up, kept.middle_normed, g.gate_up, g.gate_up_bias);
  at::Tensor grad_middle_normed = kernels::linear_input_gradient(grad_gate_up, w.gate_up);
  for (const Target target : {Target::gate, Target::up})
    adapt_backward(layer, target, grad_gate_up, kept.middle_normed, activations, kept, grad_middle_normed, g);
  kept.middle_normed.reset();
  grad_gate_up.reset();
  const at::Tensor grad_middle = kernels::rms_norm_backward(
      grad_middle_normed, kept.middle, w.post_norm, kept.middle_inverse_rms, grad_output, g.post_norm);
  grad_middle_normed.reset();
  kept.middle.reset();

  at::Tensor grad_attention = kernels::linear_input_gradient(grad_middle, w.output);
  kernels::accumulate_linear_gradient(grad_middle, kept.attention.output, g.output, g.output_bias);
  adapt_backward(layer, Target::o, grad_middle, kept.attention.output, activations, kept, grad_attention, g);
  const at::Tensor grad_qkv =
      kernels::attention_backward(grad_attention, kept.qkv, kept.attention, shape_, batch.offsets);
  grad_attention.reset();
  kept.qkv.reset();
  kept.attention = {};
  kernels::rope_backward_(grad_qkv, config_.heads + config_.kv_heads, config_.head_dim, rope_,
                          batch.positions);
  if (config_.qk_norm) normalise_heads_backward(grad_qkv, w, kept, g);
  if (!kept.input_normed.defined()) kept.input_normed = normed_again(kept.input, w.input_norm);
  kernels::accumulate_linear_gradient(grad_qkv, kept.input_normed, g.qkv, g.qkv_bias);
  const at::Tensor grad_input_normed = kernels::linear_input_gradient(grad_qkv, w.qkv);
  for (const Target target : {Target::q, Target::k, Target::v})
    adapt_backward(layer, target, grad_qkv, kept.input_normed, activations, kept, grad_input_normed, g);
  kept.input_normed.reset();
  return kernels::rms_norm_backward(grad_input_normed, kept.input, w.input_norm, kept.input_inverse_rms,
                                    grad_middle, g.input_norm);
}

void Decoder::backward(const PackedBatch& batch, Activations& activations, const at::Tensor& grad_hidden,
                       const DecoderWeights& gradients) const {
  const auto attend = [&](const at::Tensor& qkv, int64_t) {
    return kernels::attention(qkv, shape_, batch.offsets);
  };
  at::Tensor grad = kernels::rms_norm_backward(grad_hidden, activations.final_input, weights_.final_norm,
                                               activations.final_inverse_rms, {}, gradients.final_norm);
  activations.final_input.reset();
  for (size_t i = weights_.layers.size(); i-- > 0;) {
    LayerActivations kept = std::move(activations.layers[i]);
    if (activations.keep <= Keep::inputs) {
      const at::Tensor input = std::move(kept.input);
      layer_forward(i, input, batch.positions, attend, Keep::products, &activations, kept);
    }
    grad = layer_backward(batch, i, activations, kept, grad, gradients.layers[i]);
  }
  if (gradients.embedding.defined())
    kernels::accumulate_embedding_gradient(grad, batch.tokens, gradients.embedding);
}

}  // namespace spa
