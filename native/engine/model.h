// A model: configuration, weights, version of the weights. Everything else (sessions, trainers) works on one.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
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
  int64_t micro_batch_tokens = 8192;
};

/// Per-token results, aligned with the token that is predicted: entry k speaks of tokens[k], 0 for the first
/// of a row. What was not asked for is empty.
struct Scores {
  std::vector<float> log_probs;
  std::vector<float> entropy;
  std::vector<float> values;
};

class Model {
 public:
  /// Fresh weights. Throws BAD_ARGUMENT, UNSUPPORTED (dtype), OUT_OF_MEMORY.
  static std::shared_ptr<Model> create(const ModelConfig& config, const ModelOptions& options);
  /// Weights from files; `options.value_head` is ignored: the model has a value head when the files have one.
  static std::shared_ptr<Model> load(const ModelConfig& config, const std::vector<TensorEntry>& entries,
                                     const ModelOptions& options, const LongCall& call = {});

  /// Independent weights, the same numbers. A value head that is new starts at zero.
  std::shared_ptr<Model> clone(bool value_head) const;
  /// Takes over the other model's numbers; shapes must agree (BAD_ARGUMENT). The version grows.
  void copy_from(const Model& other);

  /// Log-probs, entropy and values of a ragged batch, micro-batched. Throws BAD_ARGUMENT (no value head, bad
  /// tokens), ABORTED.
  Scores score(const RaggedTokens& batch, const ScoreOptions& options, const LongCall& call = {});

  /// The parameters by Hugging Face name, in file order, as views on the model's device (write_tensors takes
  /// them as they are).
  std::vector<NamedTensor> parameters() const { return layout_.named(flat_); }

  const ModelConfig& config() const { return config_; }
  const ParameterLayout& layout() const { return layout_; }
  at::ScalarType dtype() const { return flat_.scalar_type(); }
  at::Device device() const { return flat_.device(); }
  int64_t parameter_count() const { return layout_.parameter_count(); }
  bool has_value_head() const { return layout_.value_head(); }
  /// Grows with every change of the weights; caches remember the version they were made with.
  uint64_t version() const { return version_; }

  /// [layout().size()] in the model's dtype. Whoever writes to it calls mark_changed().
  const at::Tensor& flat() const { return flat_; }
  /// Ready for positions below `positions` (see Decoder::prepare).
  const Decoder& decoder(int64_t positions);
  void mark_changed();
  /// Throws CAPACITY when a row of so many tokens is longer than the model's positions.
  void check_length(int64_t tokens) const;

 private:
  Model(const ModelConfig& config, bool value_head, at::Tensor flat);

  ModelConfig config_;
  ParameterLayout layout_;
  at::Tensor flat_;
  Decoder decoder_;
  uint64_t version_ = 1;
};

}  // namespace spa
