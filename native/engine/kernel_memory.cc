#include "engine/kernel_memory.h"

#include <numeric>
#include <vector>

#include "engine/parallel.h"
#include "kernels/aten_attention.h"
#include "kernels/decode_split.h"
#include "kernels/linear.h"
#include "kernels/log_prob.h"
#include "kernels/tile_head.h"
#include "kernels/tile_linear.h"

namespace spa {
namespace {

int64_t elements_of(const std::vector<ParameterSpec>& specs) {
  return std::accumulate(specs.begin(), specs.end(), int64_t{0}, [](int64_t sum, const ParameterSpec& spec) {
    return sum + c10::multiply_integers(spec.shape);
  });
}

/// On tiles (tile_head.cc): packed tokens; for the gradient also by width, gradients of the logits in two
/// layouts, the turned weight and the sums of the hidden states.
int64_t tile_head_bytes(const Run& run, int64_t tokens, bool training) {
  const int64_t block = kernels::amx::block, rows = kernels::tile_head_rows;
  const int64_t count = kernels::amx::blocks_of(std::min(tokens, kernels::tile_head_tokens)) * block;
  const int64_t packed = 2 * count * run.hidden;
  if (!training) return packed;
  return 2 * packed + 2 * rows * (2 * count + block) + 2 * run.hidden * (rows + block) +
         float_size * run.hidden * count;
}

/// A weight's gradient in bfloat16, and on the CPU widened, before it is added to the float32 one.
int64_t summand_bytes(const Run& run, int64_t elements) {
  return run.is_narrow() ? std::min(elements, kernels::summand_elements) * (2 + float_size) : 0;
}

}  // namespace

Run::Run(const ModelConfig& c, const PassSettings& s)
    : config(c),
      settings(s),
      hidden(c.hidden),
      inner(c.intermediate),
      query(c.query_size()),
      key_value(c.kv_size()),
      qkv(c.qkv_size()),
      width(static_cast<int64_t>(c10::elementSize(s.dtype))),
      panel_elements(kernels::largest_panels(s.dtype, s.device)),
      side_by_side(runs_side_by_side(c, s.device)),
      tiles(is(kernels::Product::tiles, c.vocab, hidden) && is(kernels::Product::tiles, inner, qkv)),
      backbone_elements(elements_of(parameter_specs(c, false))),
      trained_elements(s.adapter ? elements_of(adapter_specs(c, *s.adapter, false)) : backbone_elements) {}

int64_t head_bytes(const Run& run, int64_t tokens, bool training) {
  if (run.tiles) return tile_head_bytes(run, tokens, training);
  const int64_t vocab = run.config.vocab;
  const int64_t rows =
      std::min(std::max<int64_t>(kernels::logits_budget(run.settings.device) / vocab, 1), tokens);
  // float32 logits; on the CPU beside those in the weights' type.
  const int64_t per_logit = run.on_cpu() && run.is_narrow() ? 6 : 4;
  const int64_t logits = rows * (vocab * per_logit + run.hidden * run.width);
  if (!training) return logits;
  // Their gradient is in the weights' type when it meets the hidden states; on a GPU in the logits' place.
  const int64_t gradient = rows * vocab * (run.on_cpu() ? run.width : float_size);
  return std::max(logits, gradient + summand_bytes(run, vocab * run.hidden));
}

bool is_widened(const Run& run, int64_t inputs, int64_t outputs) {
  return run.is_narrow() && inputs * outputs <= run.panel_elements;
}

int64_t product_bytes(const Run& run, int64_t inputs, int64_t outputs, bool residual) {
  if (is_widened(run, inputs, outputs)) return float_size * (inputs + outputs * (residual ? 2 : 1));
  return run.tiles ? 2 * inputs : 0;
}

int64_t widened_attention(const Run& run) {
  return run.is_narrow() && run.on_cpu() ? float_size * (run.query + run.qkv) : 0;
}

int64_t attention_bytes(const Run& run, int64_t row, bool training) {
  if (run.on_cpu()) return 0;
  const int64_t work = kernels::aten_attention_bytes(run.heads(), row, row, training);
  const int64_t widened = run.is_narrow() ? float_size * row * run.qkv : 0;
  if (!training) return widened + work;
  const int64_t incoming = run.is_narrow() ? float_size * row * run.query : 0;
  return incoming + std::max(widened + work, 2 * float_size * row * run.qkv);
}

int64_t prompt_attention_bytes(const Run& run, int64_t queries, int64_t row) {
  if (run.on_cpu()) return 0;
  const int64_t work = kernels::aten_attention_bytes(run.heads(), queries, row, false);
  const int64_t widened = run.is_narrow() ? float_size * (queries * run.query + 2 * row * run.key_value) : 0;
  return work + widened + 2 * row * run.key_value * run.width;
}

int64_t decode_bytes(const Run& run, int64_t slots, int64_t row) {
  if (run.on_cpu()) return 0;
  const std::vector<int32_t> starts(slots, static_cast<int32_t>(row - 1));
  const auto [chunk, splits] = kernels::decode_split(starts.data(), slots, run.config.kv_heads);
  const int64_t shares = splits > 1 ? kernels::most_decode_chunks(slots, run.config.kv_heads) : 0;
  return float_size * shares * run.config.heads * (run.config.head_dim + 2);
}

DropoutBytes dropout_bytes(const Run& run, int64_t inputs) {
  const int64_t copy = run.settings.adapter->dropout > 0 ? inputs * run.width : 0;
  return {copy, run.is_narrow() && run.on_cpu() ? 5 * copy : copy};
}

int64_t input_gradient_bytes(const Run& run, int64_t count, int64_t inputs, int64_t outputs) {
  if (is_widened(run, inputs, outputs)) return count * float_size * (inputs + outputs);
  if (!run.tiles) return 0;
  const int64_t sums = outputs > kernels::tile_depth ? count * float_size * inputs : 0;
  return sums + 2 * inputs * std::min(outputs, kernels::tile_depth);
}

int64_t weight_gradient_bytes(const Run& run, int64_t count, int64_t inputs, int64_t outputs) {
  if (is_widened(run, inputs, outputs)) return count * float_size * (inputs + outputs);
  if (run.settings.adapter) return 0;
  return run.tiles ? 2 * inputs * std::min(count, kernels::tile_depth) : summand_bytes(run, inputs * outputs);
}

}  // namespace spa
