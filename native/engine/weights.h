// Parameters of a model in one flat buffer, and their way from and to safetensors files.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "engine/adapter.h"
#include "engine/long_call.h"
#include "engine/model_config.h"

namespace spa {

/// One tensor of a safetensors file, as the TypeScript side has read and validated it.
struct TensorEntry {
  std::string name;
  std::string dtype;  // as in the header: "F64", "F32", "F16", "BF16"
  std::vector<int64_t> shape;
  std::string file;
  uint64_t begin = 0;  // bytes from the start of the file (header included)
  uint64_t end = 0;
};

/// A tensor under its name, as stored in files.
struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

/// Reads the entries by mmap and returns them on the CPU as they are stored, in the order given. Throws
/// BAD_CHECKPOINT on a missing or too short file.
std::vector<NamedTensor> read_tensors(const std::vector<TensorEntry>& entries, const LongCall& call = {});

/// Writes `header` (the 8-byte length and the JSON, made in TypeScript) and then each tensor's bytes in the
/// order given to `path`, and syncs the file to disk. Renaming it into place is the caller's part. Throws
/// DISK_FULL or BAD_CHECKPOINT; a partly written file is removed.
void write_tensors(const std::string& path, const std::string& header,
                   const std::vector<NamedTensor>& tensors, const LongCall& call = {});

/// A tensor in the flat buffer; q, k and v (and gate and up) lie one behind the other, so that a layer sees
/// them as one matrix while files see them under their own names.
struct ParameterSlot {
  std::string name;
  std::vector<int64_t> shape;
  int64_t offset = 0;  // elements from the start of the buffer
  int64_t numel = 0;
};

/// The two factors of an adapter's update of one projection: W + scale * B A.
struct LowRank {
  at::Tensor a;  // [rank, in]
  at::Tensor b;  // [out, rank]
};

/// The parameters of one layer as views of the flat buffer; absent ones are undefined tensors.
struct LayerWeights {
  at::Tensor input_norm;                      // [hidden]
  at::Tensor qkv, qkv_bias;                   // [qkv_size, hidden], [qkv_size]
  at::Tensor q_norm, k_norm;                  // [head_dim]
  at::Tensor output, output_bias;             // [hidden, heads * head_dim], [hidden]
  at::Tensor post_norm;                       // [hidden]
  at::Tensor gate_up, gate_up_bias;           // [2 * intermediate, hidden], gate above up
  at::Tensor down, down_bias;                 // [hidden, intermediate], [hidden]
  std::array<LowRank, target_count> adapter;  // by Target; undefined without an adapter
};

/// Views of a flat buffer (of weights, gradients or moments) by role.
struct DecoderWeights {
  at::Tensor embedding;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  at::Tensor final_norm;                // [hidden]
  at::Tensor head;                      // [vocab, hidden]; the embedding when tied
  at::Tensor value_weight, value_bias;  // [1, hidden], [1]; undefined without a value head
};

/// A half-open range of elements of a flat buffer.
struct ParameterRange {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Where each parameter lies in a flat buffer: those of a whole model, or those of an adapter. All buffers of
/// one layout have the same size and order.
class ParameterLayout {
 public:
  ParameterLayout() = default;
  /// A whole model.
  ParameterLayout(const ModelConfig& config, bool value_head);
  /// An adapter, and its own value head if it has one.
  ParameterLayout(const ModelConfig& config, const AdapterConfig& adapter, bool value_head);

  const std::vector<ParameterSlot>& slots() const { return slots_; }
  int64_t size() const { return size_; }                        // elements of a flat buffer, padding included
  int64_t parameter_count() const { return parameter_count_; }  // elements of all parameters
  bool value_head() const { return value_head_; }

  /// `flat` [size()] seen by role; of an adapter's layout everything else is undefined.
  DecoderWeights views(const at::Tensor& flat) const;
  /// `flat` [size()] seen by Hugging Face name, in file order.
  std::vector<NamedTensor> named(const at::Tensor& flat, const std::string& prefix = {}) const;
  /// Offset behind the last parameter that is no value head: [0, backbone_size()) is embedding, layers, norm
  /// and head, or the whole adapter.
  int64_t backbone_size() const { return backbone_size_; }
  /// The backbone but for an untied head: what a critic trains beside its value head.
  std::vector<ParameterRange> ranges_without_head() const;

 private:
  void place(const std::vector<ParameterSpec>& specs);
  DecoderWeights adapter_views(const at::Tensor& flat) const;

  ModelConfig config_;
  std::optional<AdapterConfig> adapter_;
  std::vector<ParameterSlot> slots_;
  int64_t size_ = 0;
  int64_t parameter_count_ = 0;
  int64_t backbone_size_ = 0;
  bool value_head_ = false;
};

enum class Initialization {
  standard,  // normal with standard deviation 0.02, as transformers does it
  nano,      // linears 0.7 / sqrt(fan_in), residual outputs also / sqrt(2 layers), embedding 0.1
};

/// Fills `flat` [layout.size()], which is zero, with fresh weights from a counter-based generator; norms are
/// 1, biases and the value head stay 0. They are made in float32 on the CPU, some at a time.
void initialize_weights(const ModelConfig& config, const ParameterLayout& layout,
                        Initialization initialization, uint64_t seed, const at::Tensor& flat);

/// Whether all values are finite; looks at some at a time, for the test takes as much memory as its subject.
bool all_finite(const at::Tensor& tensor);

/// A flat buffer of a fresh adapter on the CPU in float32: A uniform in +-1 / sqrt(in) (PEFT's
/// kaiming_uniform_ with a = sqrt(5)), from a counter-based generator; B and the value head 0.
at::Tensor initial_adapter(const ParameterLayout& layout, uint64_t seed);

/// Copies tensors into `flat` by name (any float dtype -> flat's). Throws BAD_CHECKPOINT for a value that is
/// not finite, and for a tied head that is not the embedding. A value head may be missing in the tensors: it
/// then stays as it is.
void fill_weights(const ParameterLayout& layout, const at::Tensor& flat,
                  const std::vector<NamedTensor>& tensors, const LongCall& call = {});

}  // namespace spa
