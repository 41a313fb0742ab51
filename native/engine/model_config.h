// The shape of a decoder: one struct covers Qwen2, Qwen2.5, Qwen3 and Llama 3.x by flags.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spa {

/// Frequency scaling of rotary position embeddings.
struct RopeScaling {
  enum class Kind { none, linear, llama3 };
  Kind kind = Kind::none;
  double factor = 1.0;                    // linear, llama3
  double low_freq_factor = 1.0;           // llama3
  double high_freq_factor = 4.0;          // llama3
  int64_t original_max_positions = 8192;  // llama3
};

/// Meanings as in Hugging Face's config.json.
struct ModelConfig {
  int64_t vocab = 0;
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  double rope_theta = 1e4;
  double rms_eps = 1e-6;
  RopeScaling rope_scaling;
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;  // RMSNorm over each head of q and k before the rotation (Qwen3)
  bool tied = false;     // the head is the embedding
  int64_t max_positions = 0;

  int64_t query_size() const { return heads * head_dim; }
  int64_t kv_size() const { return kv_heads * head_dim; }
  int64_t qkv_size() const { return query_size() + 2 * kv_size(); }

  /// Throws INTERNAL unless buffers can be cut by these sizes.
  void validate() const;
};

/// One parameter under its Hugging Face name.
struct ParameterSpec {
  std::string name;
  std::vector<int64_t> shape;
};

/// All parameters in the order in which they are stored and written: embedding, layers, final norm, head
/// (when not tied), and with `value_head` at last `value_head.weight` [1, hidden] and `value_head.bias` [1].
std::vector<ParameterSpec> parameter_specs(const ModelConfig& config, bool value_head);

/// Inverse frequencies of the rotary embedding, [head_dim / 2], scaled; llama3 as in Hugging Face's
/// `_compute_llama3_parameters`.
std::vector<double> rope_inverse_frequencies(const ModelConfig& config);

}  // namespace spa
