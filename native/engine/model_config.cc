#include "engine/model_config.h"

#include <cmath>
#include <numbers>

#include "engine/error.h"

namespace spa {
void ModelConfig::validate() const {
  for (const int64_t size : {vocab, hidden, intermediate, layers, heads, kv_heads, head_dim, max_positions})
    require(size > 0, "sizes of a model are positive");
  require(heads % kv_heads == 0, "each key and value head serves as many heads");
  require(head_dim % 2 == 0, "rotation turns pairs");
}

std::vector<ParameterSpec> parameter_specs(const ModelConfig& c, bool value_head) {
  std::vector<ParameterSpec> specs;
  const auto add = [&](std::string name, std::vector<int64_t> shape) {
    specs.push_back({std::move(name), std::move(shape)});
  };
  add("model.embed_tokens.weight", {c.vocab, c.hidden});
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    const std::string attention = layer + "self_attn.", mlp = layer + "mlp.";
    add(layer + "input_layernorm.weight", {c.hidden});
    add(attention + "q_proj.weight", {c.query_size(), c.hidden});
    add(attention + "k_proj.weight", {c.kv_size(), c.hidden});
    add(attention + "v_proj.weight", {c.kv_size(), c.hidden});
    if (c.qkv_bias) {
      add(attention + "q_proj.bias", {c.query_size()});
      add(attention + "k_proj.bias", {c.kv_size()});
      add(attention + "v_proj.bias", {c.kv_size()});
    }
    if (c.qk_norm) {
      add(attention + "q_norm.weight", {c.head_dim});
      add(attention + "k_norm.weight", {c.head_dim});
    }
    add(attention + "o_proj.weight", {c.hidden, c.query_size()});
    if (c.o_bias) add(attention + "o_proj.bias", {c.hidden});
    add(layer + "post_attention_layernorm.weight", {c.hidden});
    add(mlp + "gate_proj.weight", {c.intermediate, c.hidden});
    add(mlp + "up_proj.weight", {c.intermediate, c.hidden});
    if (c.mlp_bias) {
      add(mlp + "gate_proj.bias", {c.intermediate});
      add(mlp + "up_proj.bias", {c.intermediate});
    }
    add(mlp + "down_proj.weight", {c.hidden, c.intermediate});
    if (c.mlp_bias) add(mlp + "down_proj.bias", {c.hidden});
  }
  add("model.norm.weight", {c.hidden});
  if (!c.tied) add("lm_head.weight", {c.vocab, c.hidden});
  if (value_head) {
    add("value_head.weight", {1, c.hidden});
    add("value_head.bias", {1});
  }
  return specs;
}

std::vector<double> rope_inverse_frequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  std::vector<double> frequencies(config.head_dim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double frequency =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    if (scaling.kind == RopeScaling::Kind::linear) frequency /= scaling.factor;
    if (scaling.kind == RopeScaling::Kind::llama3) {
      const auto original = static_cast<double>(scaling.original_max_positions);
      const double wavelength = 2 * std::numbers::pi / frequency;
      const double smooth = (original / wavelength - scaling.low_freq_factor) /
                            (scaling.high_freq_factor - scaling.low_freq_factor);
      if (wavelength > original / scaling.low_freq_factor) {
        frequency /= scaling.factor;
      } else if (wavelength >= original / scaling.high_freq_factor) {
        frequency = (1 - smooth) * frequency / scaling.factor + smooth * frequency;
      }
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

}  // namespace spa
