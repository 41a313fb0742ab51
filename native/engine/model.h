// A model: configuration, weights, version of the weights. Everything else (sessions, trainers) works on one.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/decoder.h"
#include "engine/long_call.h"
#include "engine/model_config.h"
#include "engine/packing.h"
#include "engine/weights.h"

namespace spa {

struct ModelOptions {
  at::ScalarType dtype = at::kFloat;  // kFloat or kBFloat16
  at::Device device = at::kCPU;
  uint64_t seed = 0;                                         // create only
  Initialization initialization = Initialization::standard;  // create only
  bool value_head = false;
};

/// What to compute in one forward pass, and with what temperature the logits are divided.
struct ScoreOptions {
  bool log_probs = true;
  bool entropy = false;
  bool values = false;
  double temperature = 1.0;
  int64_t micro_batch_tokens = 0;  // 0: inference_tokens(); halved once when memory runs out
};

/// Per-token results, aligned with the token that is predicted: entry k speaks of tokens[k], 0 for the first
/// of a row. What was not asked for is empty.
struct Scores {
  std::vector<float> log_probs;
  std::vector<float> entropy;
  std::vector<float> values;
};

/// A decoder's weights: all of them, or an adapter on another model's. What can be trained is the flat buffer
/// that layout() describes; an adapter leaves its backbone alone and shares it with other models.
class Model {
 public:
  /// Fresh weights. Throws OUT_OF_MEMORY.
  static std::shared_ptr<Model> create(const ModelConfig& config, const ModelOptions& options);
  /// Weights from files; `options.value_head` is ignored: the model has a value head when the files have one.
  static std::shared_ptr<Model> load(const ModelConfig& config, const std::vector<TensorEntry>& entries,
                                     const ModelOptions& options, const LongCall& call = {});

  /// A fresh adapter on `backbone`, which must have none itself. It changes no output before it is trained.
  /// Its value head starts as the backbone's, or at zero.
  static std::shared_ptr<Model> add_adapter(const std::shared_ptr<Model>& backbone,
                                            const AdapterConfig& adapter, bool value_head, uint64_t seed);
  /// An adapter from files; it has a value head when the files have one.
  static std::shared_ptr<Model> load_adapter(const std::shared_ptr<Model>& backbone,
                                             const AdapterConfig& adapter,
                                             const std::vector<TensorEntry>& entries,
                                             const LongCall& call = {});
  /// All weights with the adapter's update added to them (in float32, rounded once), and its value head.
  std::shared_ptr<Model> merge() const;

  /// Independent weights, the same numbers; of a model with an adapter: an adapter of its own on the same
  /// backbone. A value head that is new starts at zero.
  std::shared_ptr<Model> clone(bool value_head) const;
  /// Takes over the other model's numbers (of adapters: the adapter's); shapes, and the backbone of adapters,
  /// must agree. The version grows.
  void copy_from(const Model& other);

  /// Log-probs, entropy and values of a ragged batch, micro-batched. Throws ABORTED, OUT_OF_MEMORY.
  Scores score(const RaggedTokens& batch, const ScoreOptions& options, const LongCall& call = {});

  /// What can be trained, by Hugging Face or PEFT name, in file order, as views on the model's device
  /// (write_tensors takes them as they are).
  std::vector<NamedTensor> parameters() const { return layout_.named(flat_); }

  const ModelConfig& config() const { return config_; }
  const ParameterLayout& layout() const { return layout_; }
  at::ScalarType dtype() const { return flat_.scalar_type(); }
  at::Device device() const { return flat_.device(); }
  /// Of all weights that a forward pass reads.
  int64_t parameter_count() const;
  bool has_value_head() const { return layout_.value_head(); }
  /// The model whose weights this one's adapter is on; null for a model without an adapter.
  const std::shared_ptr<Model>& backbone() const { return backbone_; }
  const std::optional<AdapterConfig>& adapter() const { return adapter_; }
  /// Grows with every change of the weights, a backbone's included; caches remember the version they were
  /// made with.
  uint64_t version() const { return own_version_ + (backbone_ ? backbone_->version() : 0); }
  /// Grows with every change of flat().
  uint64_t own_version() const { return own_version_; }

  /// [layout().size()] in the model's dtype: what can be trained. Whoever writes to it calls mark_changed().
  const at::Tensor& flat() const { return flat_; }
  /// Ready for positions below `positions` (see Decoder::prepare).
  const Decoder& decoder(int64_t positions);
  void mark_changed();

 private:
  Model(const ModelConfig& config, bool value_head, at::Tensor flat);
  Model(std::shared_ptr<Model> backbone, const AdapterConfig& adapter, ParameterLayout layout,
        at::Tensor flat);

  Scores score_within(const RaggedTokens& batch, const ScoreOptions& options,
                      std::span<const int64_t> lengths, int64_t micro_batch_tokens, const LongCall& call);

  ModelConfig config_;
  std::shared_ptr<Model> backbone_;
  std::optional<AdapterConfig> adapter_;
  ParameterLayout layout_;
  at::Tensor flat_;
  Decoder decoder_;
  uint64_t own_version_ = 1;
};

}  // namespace spa
