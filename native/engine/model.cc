#include "engine/model.h"

#include <algorithm>
#include <numeric>

#include "engine/error.h"
#include "engine/memory.h"
#include "engine/parallel.h"
#include "engine/value_head.h"
#include "engine/work_sizes.h"
#include "kernels/log_prob.h"

namespace spa {
namespace {

bool names_value_head(const std::vector<TensorEntry>& entries) {
  return std::any_of(entries.begin(), entries.end(),
                     [](const TensorEntry& entry) { return entry.name == "value_head.weight"; });
}

void copy_value_head(const ParameterLayout& from, const at::Tensor& source, const ParameterLayout& to,
                     const at::Tensor& target) {
  const DecoderWeights read = from.views(source), written = to.views(target);
  written.value_weight.copy_(read.value_weight);
  written.value_bias.copy_(read.value_bias);
}

}  // namespace

Model::Model(const ModelConfig& config, bool value_head, at::Tensor flat)
    : config_(config),
      layout_(config, value_head),
      flat_(std::move(flat)),
      decoder_(config_, layout_.views(flat_)) {}

std::shared_ptr<Model> Model::create(const ModelConfig& config, const ModelOptions& options) {
  config.validate();
  const ParameterLayout layout(config, options.value_head);
  const auto on_device = at::TensorOptions().dtype(options.dtype).device(options.device);
  const at::Tensor flat = at::zeros({layout.size()}, on_device);
  initialize_weights(config, layout, options.initialization, options.seed, flat);
  return std::shared_ptr<Model>(new Model(config, options.value_head, flat));
}

std::shared_ptr<Model> Model::load(const ModelConfig& config, const std::vector<TensorEntry>& entries,
                                   const ModelOptions& options, const LongCall& call) {
  config.validate();
  const bool value_head = names_value_head(entries);
  const ParameterLayout layout(config, value_head);
  const auto on_device = at::TensorOptions().dtype(options.dtype).device(options.device);
  const at::Tensor flat = at::zeros({layout.size()}, on_device);
  fill_weights(layout, flat, read_tensors(entries, call), call);
  return std::shared_ptr<Model>(new Model(config, value_head, flat));
}

Model::Model(std::shared_ptr<Model> backbone, const AdapterConfig& adapter, ParameterLayout layout,
             at::Tensor flat)
    : config_(backbone->config_),
      backbone_(std::move(backbone)),
      adapter_(adapter),
      layout_(std::move(layout)),
      flat_(std::move(flat)),
      decoder_(backbone_->decoder_, adapter, layout_.views(flat_)) {}

std::shared_ptr<Model> Model::add_adapter(const std::shared_ptr<Model>& backbone,
                                          const AdapterConfig& adapter, bool value_head, uint64_t seed) {
  require(!backbone->adapter(), "an adapter stands on a whole model");
  const ParameterLayout layout(backbone->config_, adapter, value_head);
  const at::Tensor flat = initial_adapter(layout, seed).to(backbone->flat_.options());
  if (value_head && backbone->has_value_head())
    copy_value_head(backbone->layout_, backbone->flat_, layout, flat);
  return std::shared_ptr<Model>(new Model(backbone, adapter, layout, flat));
}

std::shared_ptr<Model> Model::load_adapter(const std::shared_ptr<Model>& backbone,
                                           const AdapterConfig& adapter,
                                           const std::vector<TensorEntry>& entries, const LongCall& call) {
  require(!backbone->adapter(), "an adapter stands on a whole model");
  const ParameterLayout layout(backbone->config_, adapter, names_value_head(entries));
  const at::Tensor flat = at::zeros({layout.size()}, backbone->flat_.options());
  fill_weights(layout, flat, read_tensors(entries, call), call);
  return std::shared_ptr<Model>(new Model(backbone, adapter, layout, flat));
}

std::shared_ptr<Model> Model::merge() const {
  require(backbone_ != nullptr, "a model that is merged has an adapter");
  const std::shared_ptr<Model> merged = backbone_->clone(has_value_head());
  const DecoderWeights low_rank = layout_.views(flat_), whole = merged->layout_.views(merged->flat_);
  for (size_t i = 0; i < whole.layers.size(); ++i) {
    const LayerWeights& w = whole.layers[i];
    const std::array<at::Tensor, target_count> weights = {w.qkv,     w.qkv,     w.qkv, w.output,
                                                          w.gate_up, w.gate_up, w.down};
    for (int64_t target = 0; target < target_count; ++target) {
      const auto& [a, b] = low_rank.layers[i].adapter[target];
      if (!a.defined()) continue;
      const TargetShape shape = target_shape(config_, static_cast<Target>(target));
      const at::Tensor weight = weights[target].narrow(0, shape.first, shape.out);
      const at::Tensor update = at::mm(b.to(at::kFloat), a.to(at::kFloat));
      weight.copy_(at::add(weight.to(at::kFloat), update, adapter_->scale));
    }
  }
  if (has_value_head()) copy_value_head(layout_, flat_, merged->layout_, merged->flat_);
  return merged;
}

std::shared_ptr<Model> Model::clone(bool value_head) const {
  const ParameterLayout layout =
      adapter_ ? ParameterLayout(config_, *adapter_, value_head) : ParameterLayout(config_, value_head);
  const at::Tensor flat = at::zeros({layout.size()}, flat_.options());
  const int64_t shared = has_value_head() && value_head ? layout.size() : layout.backbone_size();
  flat.narrow(0, 0, shared).copy_(flat_.narrow(0, 0, shared));
  return std::shared_ptr<Model>(adapter_ ? new Model(backbone_, *adapter_, layout, flat)
                                         : new Model(config_, value_head, flat));
}

void Model::copy_from(const Model& other) {
  require(layout_.backbone_size() == other.layout_.backbone_size(), "models that are copied are of one size");
  const bool all = has_value_head() && other.has_value_head();
  const int64_t shared = all ? layout_.size() : layout_.backbone_size();
  flat_.narrow(0, 0, shared).copy_(other.flat_.narrow(0, 0, shared));
  mark_changed();
}

int64_t Model::parameter_count() const {
  const int64_t own = layout_.parameter_count();
  return backbone_ ? own + ParameterLayout(config_, false).parameter_count() : own;
}

const Decoder& Model::decoder(int64_t positions) {
  decoder_.prepare(positions);
  return decoder_;
}

void Model::mark_changed() {
  ++own_version_;
  decoder_.forget_panels();
}

Scores Model::score(const RaggedTokens& batch, const ScoreOptions& options, const LongCall& call) {
  batch.validate(config_.vocab);
  require(!options.values || has_value_head(), "values come from a value head");

  // The last token of a row predicts nothing that is asked for, so it is not run.
  std::vector<int64_t> lengths(batch.rows());
  for (int64_t row = 0; row < batch.rows(); ++row) lengths[row] = std::max<int64_t>(batch.length(row) - 1, 0);

  const int64_t standard = inference_tokens(config_, device());
  const int64_t tokens = options.micro_batch_tokens > 0 ? options.micro_batch_tokens : standard;
  try {
    return score_within(batch, options, lengths, tokens, call);
  } catch (...) {
    if (!is_out_of_memory(std::current_exception())) throw;
  }
  release_cached_memory(device());
  const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  return score_within(batch, options, lengths, std::max<int64_t>(1, std::min(tokens, total) / 2), call);
}

Scores Model::score_within(const RaggedTokens& batch, const ScoreOptions& options,
                           std::span<const int64_t> lengths, int64_t micro_batch_tokens,
                           const LongCall& call) {
  const int64_t longest = lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  const Decoder& decoder = this->decoder(longest + 1);
  Scores scores;
  if (options.log_probs) scores.log_probs.assign(batch.tokens.size(), 0.0f);
  if (options.entropy) scores.entropy.assign(batch.tokens.size(), 0.0f);
  if (options.values) scores.values.assign(batch.tokens.size(), 0.0f);

  const auto score_chunk = [&](std::span<const int64_t> chunk) {
    const PackedBatch packed = pack_rows(batch, chunk, lengths, device());
    const at::Tensor hidden = decoder.hidden(packed);
    const auto scatter = [&](const at::Tensor& source, std::vector<float>& target) {
      const at::Tensor values = source.cpu();
      const float* from = values.data_ptr<float>();
      for (size_t i = 0; i < packed.predicted.size(); ++i) target[packed.predicted[i]] = from[i];
    };
    if (options.log_probs || options.entropy) {
      const auto targets = gather_predicted(batch.tokens, packed);
      const auto result = kernels::token_log_probs(
          hidden, decoder.weights().head, at::tensor(at::ArrayRef<int32_t>(targets)).to(device(), at::kLong),
          options.temperature, options.entropy);
      if (options.log_probs) scatter(result.log_prob, scores.log_probs);
      if (options.entropy) scatter(result.entropy, scores.entropy);
    }
    if (options.values) scatter(token_values(hidden, decoder.weights()), scores.values);
  };

  std::vector<int64_t> rows(batch.rows());
  std::iota(rows.begin(), rows.end(), int64_t{0});
  int64_t done = 0;
  const int64_t total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
  for (const auto& micro_batch : micro_batches(rows, lengths, micro_batch_tokens)) {
    call.check();
    const ShardPlan plan = shard_rows(config_, device(), micro_batch, lengths);
    parallel_parts(static_cast<int64_t>(plan.parts.size()), [&](int64_t part) {
      for (const auto& chunk : plan.parts[part]) score_chunk(chunk);
    });
    for (const int64_t row : micro_batch) done += lengths[row];
    call.report(done, total);
  }
  return scores;
}

}  // namespace spa
