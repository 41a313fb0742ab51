#include "engine/decoder.h"

#include <algorithm>
#include <cmath>
#include <utility>

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
  }
  return batch;
}

void Decoder::Projection::pack() {
  if (!kernels::prefers_packed(weight.size(0), weight.size(1), weight.scalar_type(), weight.device())) return;
  packed = kernels::PackedWeight(weight);
}

at::Tensor Decoder::Projection::operator()(const at::Tensor& x, const at::Tensor& add) const {
  return packed.defined() ? kernels::linear(x, packed, bias, add) : kernels::linear(x, weight, bias, add);
}

Decoder::Decoder(const ModelConfig& config, DecoderWeights weights)
    : config_(config),
      weights_(std::move(weights)),
      shape_{config.heads, config.kv_heads, config.head_dim,
             static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)))} {
  for (const LayerWeights& w : weights_.layers) {
    layers_.push_back({{w.qkv, w.qkv_bias, {}},
                       {w.output, w.output_bias, {}},
                       {w.gate_up, w.gate_up_bias, {}},
                       {w.down, w.down_bias, {}}});
  }
  head_ = {weights_.head, {}, {}};
}

void Decoder::prepare(int64_t positions) {
  if (!rope_.cosine.defined() || rope_.cosine.size(0) < positions) {
    const auto frequencies = rope_inverse_frequencies(config_);
    const int64_t size =
        std::max<int64_t>(positions, rope_.cosine.defined() ? 2 * rope_.cosine.size(0) : 512);
    rope_ = kernels::rope_tables(at::tensor(frequencies, at::kDouble), size, weights_.embedding.device());
  }
  if (packed_) return;
  for (Layer& layer : layers_) {
    layer.qkv.pack();
    layer.output.pack();
    layer.gate_up.pack();
    layer.down.pack();
  }
  head_.pack();
  packed_ = true;
}

template <typename Attend>
at::Tensor Decoder::forward(const at::Tensor& tokens, const at::Tensor& positions, const Attend& attend,
                            Activations* saved) const {
  at::Tensor x = kernels::embedding(weights_.embedding, tokens);
  if (saved != nullptr) saved->layers.resize(layers_.size());
  for (size_t i = 0; i < layers_.size(); ++i) {
    const LayerWeights& w = weights_.layers[i];
    LayerActivations a;
    a.input = x;
    auto input_norm = kernels::rms_norm(x, w.input_norm, config_.rms_eps);
    a.input_normed = input_norm.output;
    a.input_inverse_rms = input_norm.inverse_rms;
    a.qkv = layers_[i].qkv(a.input_normed);
    if (config_.qk_norm) normalise_heads(a.qkv, w, a);
    kernels::rope_(a.qkv, config_.heads + config_.kv_heads, config_.head_dim, rope_, positions);
    a.attention = attend(a.qkv, static_cast<int64_t>(i));
    a.middle = layers_[i].output(a.attention.output, x);
    auto post_norm = kernels::rms_norm(a.middle, w.post_norm, config_.rms_eps);
    a.middle_normed = post_norm.output;
    a.middle_inverse_rms = post_norm.inverse_rms;
    a.gate_up = layers_[i].gate_up(a.middle_normed);
    a.activated = kernels::swiglu(a.gate_up);
    x = layers_[i].down(a.activated, a.middle);
    if (saved != nullptr) saved->layers[i] = std::move(a);
  }
  auto norm = kernels::rms_norm(x, weights_.final_norm, config_.rms_eps);
  if (saved != nullptr) {
    saved->final_input = x;
    saved->final_inverse_rms = norm.inverse_rms;
  }
  return norm.output;
}

at::Tensor Decoder::hidden(const PackedBatch& batch, Activations* saved) const {
  const auto attend = [&](const at::Tensor& qkv, int64_t) {
    return kernels::attention(qkv, shape_, batch.offsets);
  };
  return forward(batch.tokens, batch.positions, attend, saved);
}

at::Tensor Decoder::hidden(const CachedBatch& batch, const KvCache& cache) const {
  const auto attend = [&](const at::Tensor& qkv, int64_t layer) {
    return kernels::AttentionResult{kernels::append_and_attend(qkv, cache.layer(layer), shape_, batch.rows),
                                    {}};
  };
  return forward(batch.tokens, batch.positions, attend, nullptr);
}

at::Tensor Decoder::logits(const at::Tensor& hidden) const { return head_(hidden); }

void Decoder::normalise_heads(const at::Tensor& qkv, const LayerWeights& w, LayerActivations& saved) const {
  const int64_t tokens = qkv.size(0), heads = config_.heads + config_.kv_heads;
  const at::Tensor part = qkv.narrow(1, 0, heads * config_.head_dim);
  saved.query_key_raw = part.contiguous().view({tokens, heads, config_.head_dim});
  saved.query_key_inverse_rms = at::empty({tokens, heads}, qkv.options().dtype(at::kFloat));
  const at::Tensor target = part.unflatten(1, {heads, config_.head_dim});
  const auto normalise = [&](int64_t first, int64_t count, const at::Tensor& weight) {
    const auto norm =
        kernels::rms_norm(saved.query_key_raw.narrow(1, first, count).contiguous(), weight, config_.rms_eps);
    target.narrow(1, first, count).copy_(norm.output);
    saved.query_key_inverse_rms.narrow(1, first, count).copy_(norm.inverse_rms.view({tokens, count}));
  };
  normalise(0, config_.heads, w.q_norm);
  normalise(config_.heads, config_.kv_heads, w.k_norm);
}

void Decoder::normalise_heads_backward(const at::Tensor& grad_qkv, const LayerWeights& w,
                                       const LayerActivations& saved, const LayerWeights& gradients) const {
  const int64_t tokens = grad_qkv.size(0), heads = config_.heads + config_.kv_heads;
  const at::Tensor target =
      grad_qkv.narrow(1, 0, heads * config_.head_dim).unflatten(1, {heads, config_.head_dim});
  const auto backward = [&](int64_t first, int64_t count, const at::Tensor& weight,
                            const at::Tensor& grad_weight) {
    const at::Tensor grad = target.narrow(1, first, count);
    grad.copy_(kernels::rms_norm_backward(
        grad.contiguous(), saved.query_key_raw.narrow(1, first, count).contiguous(), weight,
        saved.query_key_inverse_rms.narrow(1, first, count).reshape({tokens * count}), {}, grad_weight));
  };
  backward(0, config_.heads, w.q_norm, gradients.q_norm);
  backward(config_.heads, config_.kv_heads, w.k_norm, gradients.k_norm);
}

at::Tensor Decoder::layer_backward(const PackedBatch& batch, const LayerWeights& w, const LayerActivations& a,
                                   const at::Tensor& grad_output, const LayerWeights& g) const {
  const at::Tensor grad_activated = kernels::linear_input_gradient(grad_output, w.down);
  kernels::accumulate_linear_gradient(grad_output, a.activated, g.down, g.down_bias);
  const at::Tensor grad_gate_up = kernels::swiglu_backward(grad_activated, a.gate_up);
  kernels::accumulate_linear_gradient(grad_gate_up, a.middle_normed, g.gate_up, g.gate_up_bias);
  const at::Tensor grad_middle =
      kernels::rms_norm_backward(kernels::linear_input_gradient(grad_gate_up, w.gate_up), a.middle,
                                 w.post_norm, a.middle_inverse_rms, grad_output, g.post_norm);

  const at::Tensor grad_attention = kernels::linear_input_gradient(grad_middle, w.output);
  kernels::accumulate_linear_gradient(grad_middle, a.attention.output, g.output, g.output_bias);
  const at::Tensor grad_qkv =
      kernels::attention_backward(grad_attention, a.qkv, a.attention, shape_, batch.offsets);
  kernels::rope_backward_(grad_qkv, config_.heads + config_.kv_heads, config_.head_dim, rope_,
                          batch.positions);
  if (config_.qk_norm) normalise_heads_backward(grad_qkv, w, a, g);
  kernels::accumulate_linear_gradient(grad_qkv, a.input_normed, g.qkv, g.qkv_bias);
  return kernels::rms_norm_backward(kernels::linear_input_gradient(grad_qkv, w.qkv), a.input, w.input_norm,
                                    a.input_inverse_rms, grad_middle, g.input_norm);
}

void Decoder::backward(const PackedBatch& batch, Activations& saved, const at::Tensor& grad_hidden,
                       const DecoderWeights& gradients) const {
  at::Tensor grad = kernels::rms_norm_backward(grad_hidden, saved.final_input, weights_.final_norm,
                                               saved.final_inverse_rms, {}, gradients.final_norm);
  for (size_t i = layers_.size(); i-- > 0;) {
    grad = layer_backward(batch, weights_.layers[i], saved.layers[i], grad, gradients.layers[i]);
    saved.layers[i] = {};  // frees the activations as the pass goes on
  }
  kernels::accumulate_embedding_gradient(grad, batch.tokens, gradients.embedding);
}

}  // namespace spa
