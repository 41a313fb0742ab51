// A decoder as plain as it can be, in double precision, to hold the engine against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/model.h"
#include "kernels/philox.h"

namespace spa::test {

using Row = std::vector<double>;

/// Weights by Hugging Face name, widened to double; may be changed for finite differences.
struct ReferenceDecoder {
  ModelConfig config;
  std::unordered_map<std::string, Row> weights;

  explicit ReferenceDecoder(const Model& model) : config(model.config()) {
    for (const NamedTensor& entry : model.parameters()) {
      const at::Tensor values = entry.tensor.to(at::kDouble).contiguous();
      weights[entry.name] = Row(values.data_ptr<double>(), values.data_ptr<double>() + values.numel());
    }
  }

  Row linear(const std::string& name, const Row& x, int64_t out) const {
    const Row& weight = weights.at(name + ".weight");
    Row y(out, 0.0);
    for (int64_t i = 0; i < out; ++i) {
      for (size_t j = 0; j < x.size(); ++j) y[i] += weight[i * x.size() + j] * x[j];
    }
    const auto bias = weights.find(name + ".bias");
    if (bias != weights.end()) {
      for (int64_t i = 0; i < out; ++i) y[i] += bias->second[i];
    }
    return y;
  }

  void norm(double* x, int64_t width, const std::string& name) const {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += x[i] * x[i];
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + config.rms_eps);
    for (int64_t i = 0; i < width; ++i) x[i] *= scale * weights.at(name + ".weight")[i];
  }

  void rotate(double* x, int64_t position) const {
    const auto frequencies = rope_inverse_frequencies(config);
    const int64_t half = config.head_dim / 2;
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      const double a = x[i], b = x[i + half];
      x[i] = a * std::cos(angle) - b * std::sin(angle);
      x[i + half] = b * std::cos(angle) + a * std::sin(angle);
    }
  }

  /// Hidden states after the final norm, [tokens][hidden].
  std::vector<Row> hidden(std::span<const int32_t> tokens) const {
    const auto n = static_cast<int64_t>(tokens.size());
    std::vector<Row> x(n);
    const Row& embedding = weights.at("model.embed_tokens.weight");
    for (int64_t t = 0; t < n; ++t) {
      const auto begin = embedding.begin() + tokens[t] * config.hidden;
      x[t] = Row(begin, begin + config.hidden);
    }
    for (int64_t i = 0; i < config.layers; ++i) layer("model.layers." + std::to_string(i), x);
    for (Row& row : x) norm(row.data(), config.hidden, "model.norm");
    return x;
  }

  void layer(const std::string& name, std::vector<Row>& x) const {
    const auto n = static_cast<int64_t>(x.size());
    const int64_t d = config.head_dim, group = config.heads / config.kv_heads;
    const std::string attention = name + ".self_attn.", mlp = name + ".mlp.";
    std::vector<Row> q(n), k(n), v(n);
    for (int64_t t = 0; t < n; ++t) {
      Row h = x[t];
      norm(h.data(), config.hidden, name + ".input_layernorm");
      q[t] = linear(attention + "q_proj", h, config.query_size());
      k[t] = linear(attention + "k_proj", h, config.kv_size());
      v[t] = linear(attention + "v_proj", h, config.kv_size());
      for (int64_t head = 0; head < config.heads; ++head) {
        if (config.qk_norm) norm(q[t].data() + head * d, d, attention + "q_norm");
        rotate(q[t].data() + head * d, t);
      }
      for (int64_t head = 0; head < config.kv_heads; ++head) {
        if (config.qk_norm) norm(k[t].data() + head * d, d, attention + "k_norm");
        rotate(k[t].data() + head * d, t);
      }
    }
    for (int64_t t = 0; t < n; ++t) {
      Row mixed(config.query_size(), 0.0);
      for (int64_t head = 0; head < config.heads; ++head) {
        const int64_t kv = head / group;
        Row weight(t + 1);
        double largest = -1e300, total = 0;
        for (int64_t s = 0; s <= t; ++s) {
          for (int64_t i = 0; i < d; ++i) weight[s] += q[t][head * d + i] * k[s][kv * d + i];
          weight[s] /= std::sqrt(static_cast<double>(d));
          largest = std::max(largest, weight[s]);
        }
        for (double& w : weight) total += w = std::exp(w - largest);
        for (int64_t s = 0; s <= t; ++s) {
          for (int64_t i = 0; i < d; ++i) mixed[head * d + i] += weight[s] / total * v[s][kv * d + i];
        }
      }
      const Row attended = linear(attention + "o_proj", mixed, config.hidden);
      for (int64_t i = 0; i < config.hidden; ++i) x[t][i] += attended[i];
      Row h = x[t];
      norm(h.data(), config.hidden, name + ".post_attention_layernorm");
      Row gate = linear(mlp + "gate_proj", h, config.intermediate);
      const Row up = linear(mlp + "up_proj", h, config.intermediate);
      for (int64_t i = 0; i < config.intermediate; ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      const Row down = linear(mlp + "down_proj", gate, config.hidden);
      for (int64_t i = 0; i < config.hidden; ++i) x[t][i] += down[i];
    }
  }

  /// log_softmax(logits / temperature) of one hidden state.
  Row log_probs(const Row& hidden, double temperature = 1.0) const {
    const Row& head = weights.at(config.tied ? "model.embed_tokens.weight" : "lm_head.weight");
    Row logits(config.vocab, 0.0);
    double total = 0;
    for (int64_t i = 0; i < config.vocab; ++i) {
      for (int64_t j = 0; j < config.hidden; ++j) logits[i] += head[i * config.hidden + j] * hidden[j];
      logits[i] /= temperature;
    }
    const double largest = *std::max_element(logits.begin(), logits.end());
    for (const double logit : logits) total += std::exp(logit - largest);
    for (double& logit : logits) logit -= largest + std::log(total);
    return logits;
  }
};

/// Small shapes that switch every flag on in some one.
inline ModelConfig qwen2_config() {
  ModelConfig c;
  c.vocab = 37, c.hidden = 24, c.intermediate = 40, c.layers = 2, c.heads = 4, c.kv_heads = 2, c.head_dim = 6;
  c.rope_theta = 1e4, c.rms_eps = 1e-6, c.qkv_bias = true, c.tied = true, c.max_positions = 256;
  return c;
}

inline ModelConfig llama_config() {
  ModelConfig c = qwen2_config();
  c.qkv_bias = false, c.tied = false, c.head_dim = 10, c.heads = 3, c.kv_heads = 1, c.rope_theta = 5e5;
  c.rope_scaling = {RopeScaling::Kind::llama3, 32, 1, 4, 16};
  c.o_bias = true, c.mlp_bias = true;
  return c;
}

inline ModelConfig qwen3_config() {
  ModelConfig c = qwen2_config();
  c.qkv_bias = false, c.qk_norm = true, c.head_dim = 16, c.kv_heads = 4;
  return c;
}

/// Weights with every parameter away from its special value (norms of 1, biases of 0).
inline std::shared_ptr<Model> random_model(const ModelConfig& config, bool value_head = false,
                                           uint64_t seed = 7, at::ScalarType dtype = at::kFloat) {
  auto model = Model::create(config, {dtype, at::kCPU, seed, Initialization::nano, value_head});
  uint64_t tensor = 100;
  for (const NamedTensor& entry : model->parameters()) {
    if (entry.tensor.dim() > 1 && entry.name.find("value_head") != 0) continue;
    ++tensor;
    at::Tensor noise = at::empty(entry.tensor.sizes(), at::kFloat);
    for (int64_t i = 0; i < noise.numel(); ++i) {
      noise.data_ptr<float>()[i] = kernels::philox_uniform(seed, tensor, static_cast<uint64_t>(i)) - 0.5f;
    }
    entry.tensor.add_(noise, 0.5);
  }
  model->mark_changed();
  return model;
}

/// A ragged batch of random tokens that owns its arrays.
struct TokenRows {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> offsets = {0};

  TokenRows(std::initializer_list<int> lengths, int64_t vocab, uint64_t seed = 3) {
    uint64_t row = 0;
    for (const int length : lengths) {
      for (int k = 0; k < length; ++k) {
        const float u = kernels::philox_uniform(seed, row, static_cast<uint64_t>(k));
        tokens.push_back(static_cast<int32_t>(u * static_cast<float>(vocab)));
      }
      offsets.push_back(static_cast<uint32_t>(tokens.size()));
      ++row;
    }
  }

  RaggedTokens view() const { return {tokens, offsets}; }
  std::span<const int32_t> row(size_t i) const {
    return std::span(tokens).subspan(offsets[i], offsets[i + 1] - offsets[i]);
  }
};

}  // namespace spa::test
