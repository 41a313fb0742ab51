#include "engine/pass_memory.h"

#include <algorithm>
#include <initializer_list>

#include "engine/decoder.h"
#include "engine/kernel_memory.h"
#include "engine/kv_cache.h"
#include "engine/parallel.h"
#include "engine/work_sizes.h"
#include "kernels/cpu/scratch.h"
#include "kernels/quantized_moments.h"
#include "kernels/sampling.h"

namespace spa {
namespace {

// --- Weights and what training adds to each of them: model.cc, optimizer.cc, trainer.cc

/// A weight's copy in the layout of the row kernels.
int64_t panel_bytes(const Run& run, int64_t out, int64_t in) {
  return run.is(kernels::Product::rows, out, in) ? kernels::cpu::panel_elements(in, out) * float_size : 0;
}

int64_t backbone_panel_bytes(const Run& run) {
  const int64_t layer = panel_bytes(run, run.qkv, run.hidden) + panel_bytes(run, run.hidden, run.query) +
                        panel_bytes(run, 2 * run.inner, run.hidden) + panel_bytes(run, run.hidden, run.inner);
  return run.config.layers * layer + panel_bytes(run, run.config.vocab, run.hidden);
}

int64_t adapter_panel_bytes(const Run& run) {
  const AdapterConfig& adapter = *run.settings.adapter;
  int64_t layer = 0;
  for (size_t target = 0; target < target_count; ++target) {
    if (!adapter.targets[target]) continue;
    const TargetShape shape = target_shape(run.config, static_cast<Target>(target));
    layer += panel_bytes(run, adapter.rank, shape.in) + panel_bytes(run, shape.out, adapter.rank);
  }
  return run.config.layers * layer;
}

/// Cosines and sines of the positions in use, after the tables have grown once.
int64_t rotary_bytes(const ModelConfig& config) {
  return std::min(config.max_positions, 2 * Decoder::first_positions) * config.head_dim * float_size;
}

int64_t weight_bytes(const Run& run, int64_t models) {
  const int64_t whole =
      run.backbone_elements * run.width + backbone_panel_bytes(run) + rotary_bytes(run.config);
  if (!run.settings.adapter) return models * whole;
  const int64_t adapter = run.trained_elements * run.width + adapter_panel_bytes(run);
  return whole + models * (adapter + rotary_bytes(run.config));
}

/// Both moments. Of a critic's untied head there are no codes (ParameterLayout::ranges_without_head).
double moment_bytes(const Run& run, int64_t trained) {
  const int64_t weights = trained * run.trained_elements;
  if (run.settings.moments == MomentFormat::float32) return static_cast<double>(2 * float_size * weights);
  const bool has_head = !run.config.tied && !run.settings.adapter;
  const int64_t heads = has_head ? std::max<int64_t>(trained - 1, 0) : 0;
  const double code_and_scale = 1.0 + static_cast<double>(float_size) / kernels::moment_block;
  return 2 * code_and_scale * static_cast<double>(weights - heads * run.config.vocab * run.hidden);
}

/// Side by side there is a buffer for each thread.
int64_t gradient_bytes(const Run& run, int64_t trained) {
  return float_size * trained * run.trained_elements * (run.side_by_side ? run.settings.threads : 1);
}

int64_t cache_bytes(const Run& run, int64_t slots, int64_t row) {
  return c10::multiply_integers(KvCache::pool_shape(run.config, slots, row)) * run.width;
}

// --- The decoder: what `count` tokens take, moment by moment

enum class Work : uint8_t { inference, forward, backward };

/// Decoder::adapt and adapt_backward: bytes a token that the adapter of a target needs beside its projection.
int64_t target_bytes(const Run& run, Target target, Work work) {
  const int64_t rank = run.settings.adapter->rank;
  const TargetShape shape = target_shape(run.config, target);
  const bool widens_input = is_widened(run, shape.in, rank), widens_output = is_widened(run, rank, shape.out);
  const int64_t widened_input = widens_input ? float_size * shape.in : 0;
  const DropoutBytes dropout = work == Work::inference ? DropoutBytes{} : dropout_bytes(run, shape.in);
  const int64_t input = std::max(dropout.making, dropout.copy + widened_input);
  if (work != Work::backward) return std::max(input, widens_output ? (2 + float_size) * shape.out : 0);
  const int64_t gradient = shape.in * run.width + std::max(dropout.making, widened_input);
  return std::max({input, gradient, widens_output ? float_size * shape.out : 0});
}

/// The most that adapters of these targets need, one after the other.
int64_t adapter_bytes(const Run& run, std::initializer_list<Target> targets, Work work) {
  int64_t most = 0;
  for (const Target target : targets) {
    if (run.settings.adapter && run.settings.adapter->targets[static_cast<size_t>(target)])
      most = std::max(most, target_bytes(run, target, work));
  }
  return most;
}

/// Decoder::layer_forward without a backward pass behind it: the most that a layer takes, in and out
/// included. `attention`: bytes beside what tokens take.
int64_t inference_bytes(const Run& run, int64_t count, int64_t attention) {
  const int64_t w = run.width, hidden = run.hidden, inner = run.inner;
  const auto adapter = [&](std::initializer_list<Target> targets) {
    return adapter_bytes(run, targets, Work::inference);
  };
  const int64_t attending = count * ((hidden + run.qkv + run.query) * w + widened_attention(run)) + attention;
  const int64_t others = std::max({
      (2 * hidden + run.qkv) * w + product_bytes(run, hidden, run.qkv),
      (2 * hidden + run.query) * w + product_bytes(run, run.query, hidden, true),
      (3 * hidden + 2 * inner) * w +
          std::max(product_bytes(run, hidden, 2 * inner), adapter({Target::gate, Target::up})),
      (2 * hidden + 3 * inner) * w,
      (3 * hidden + inner) * w + std::max(product_bytes(run, inner, hidden, true), adapter({Target::down})),
  });
  return std::max(attending, count * others) + count * run.low_rank();
}

/// Bytes a token that a layer leaves for its backward pass (LayerActivations, Keep).
int64_t kept_bytes(const Run& run, Keep keep) {
  const int64_t heads_with_norm = run.query + run.key_value;
  const int64_t normed =
      run.config.qk_norm ? heads_with_norm * run.width + heads_with_norm / run.config.head_dim * float_size
                         : 0;
  const int64_t inverse_rms_and_lse = float_size * (2 + run.config.heads);
  const int64_t products = (2 * run.hidden + run.qkv + run.query + 2 * run.inner) * run.width +
                           inverse_rms_and_lse + normed + run.low_rank();
  return keep == Keep::products ? products : products + (2 * run.hidden + run.inner) * run.width;
}

/// Decoder::layer_forward with one behind it: beside what layers keep, while the last one runs.
int64_t forward_bytes(const Run& run, int64_t count, int64_t row, Keep keep) {
  const int64_t w = run.width, hidden = run.hidden, inner = run.inner;
  const auto adapter = [&](std::initializer_list<Target> targets) {
    return adapter_bytes(run, targets, Work::forward);
  };
  // What is kept is there already, or not yet.
  const int64_t normed = keep == Keep::everything ? -inner * w : hidden * w;
  const int64_t activated = keep == Keep::everything ? 0 : inner * w;
  const int64_t attending =
      count * (widened_attention(run) - (hidden + 2 * inner) * w) + attention_bytes(run, row, false);
  const int64_t others = std::max({
      adapter({Target::q, Target::k, Target::v, Target::o}) - 2 * inner * w,
      normed + std::max(product_bytes(run, hidden, 2 * inner), adapter({Target::gate, Target::up})),
      activated + hidden * w + std::max(product_bytes(run, inner, hidden, true), adapter({Target::down})),
  });
  return std::max(attending, count * others);
}

/// Decoder::layer_backward: beside what layers keep, the gradients of the layer's output and of the last
/// hidden states included.
int64_t backward_bytes(const Run& run, int64_t count, int64_t row, Keep keep) {
  const int64_t w = run.width, hidden = run.hidden, inner = run.inner;
  const auto adapter = [&](std::initializer_list<Target> targets) {
    return count * adapter_bytes(run, targets, Work::backward);
  };
  // Outputs of norms and SwiGLU are there already, or made again; either way they are freed on the way.
  const int64_t again = keep == Keep::products ? 1 : 0, kept = 1 - again;
  const int64_t down = count * (1 + again) * inner * w;
  const int64_t gate_up = count * (again * hidden - kept * inner) * w;
  const int64_t grad_middle = count * hidden * w;
  const int64_t attention = (run.query - 2 * inner - kept * (inner + hidden) + run.qkv) * w;
  return 2 * count * hidden * w +
         std::max({
             down + input_gradient_bytes(run, count, inner, hidden),
             down + weight_gradient_bytes(run, count, inner, hidden),
             down + adapter({Target::down}),
             count * (3 - kept) * inner * w,
             gate_up + weight_gradient_bytes(run, count, hidden, 2 * inner),
             gate_up + grad_middle + input_gradient_bytes(run, count, hidden, 2 * inner),
             gate_up + grad_middle + adapter({Target::gate, Target::up}),
             count * (attention + 2 * widened_attention(run)) + attention_bytes(run, row, true),
         });
}

// --- Whole passes

struct Tokens {
  int64_t activations = 0, logits = 0;
};

/// The larger of what the layers take and what there is while the head runs.
Tokens larger(int64_t body, int64_t at_head, int64_t logits) {
  return at_head + logits > body ? Tokens{at_head, logits} : Tokens{body, 0};
}

/// Tokens of a micro-batch: at most as many as there are, and never less than a row.
int64_t micro_batch(int64_t tokens, int64_t budget, int64_t row) {
  return std::min(tokens, std::max(budget, row));
}

/// shard_rows: how many threads work on a micro-batch, and the tokens that each has in hand, in whole rows.
struct Shards {
  int64_t parts, count;
};

Shards shards_of(const Run& run, int64_t tokens, int64_t row) {
  if (!run.side_by_side) return {1, tokens};
  const int64_t parts = std::min(run.settings.threads, (tokens + row - 1) / row);
  if (parts == 0) return {0, 0};
  const int64_t chunk = std::max<int64_t>(1, side_by_side_chunk_tokens / row) * row;
  return {parts, std::min((tokens + parts - 1) / parts, chunk)};
}

/// add_gradients; `policy`: whether the pass has logits, a critic's has none.
Tokens training_pass(const Run& run, int64_t tokens, int64_t row, bool policy) {
  const auto [parts, count] = shards_of(run, tokens, row);
  const int64_t states = run.hidden * run.width, layers = run.config.layers;
  const bool checkpoints = run.settings.activation_checkpointing;
  const Keep keep = run.side_by_side && !checkpoints ? Keep::everything : Keep::products;
  const int64_t layer = kept_bytes(run, keep);
  const int64_t kept = checkpoints ? (layers - 1) * states + layer : layers * layer;
  // A layer is run again under the gradients of what follows it.
  const int64_t forward = forward_bytes(run, count, row, keep) + (checkpoints ? count * 2 * states : 0);
  const int64_t body = parts * (count * kept + std::max(backward_bytes(run, count, row, keep), forward));
  // While the head runs: its input, the gradient of that, and the chosen rows.
  const int64_t at_head = parts * count * ((checkpoints ? layers * states : kept) + 4 * states);
  return larger(body, at_head, policy ? parts * head_bytes(run, count, !run.settings.adapter) : 0);
}

/// Model::score.
Tokens scoring_pass(const Run& run, int64_t tokens, int64_t row) {
  const auto [parts, count] = shards_of(run, tokens, row);
  const int64_t body = parts * inference_bytes(run, count, attention_bytes(run, row, false));
  return larger(body, parts * count * 2 * run.hidden * run.width, parts * head_bytes(run, count, false));
}

/// Session beside its cache: a pass over prompts, which are not cut into chunks, or the logits of one step.
Tokens sampling_pass(const Run& run, int64_t slots, int64_t tokens, int64_t row) {
  const int64_t queries = std::min(row, inference_tokens(run.config, run.settings.device));
  const int64_t prompts = inference_bytes(run, tokens, prompt_attention_bytes(run, queries, row));
  const int64_t parts = run.side_by_side ? std::min(run.settings.threads, slots) : 1;
  const int64_t group = std::min<int64_t>(sampling_rows, (slots + parts - 1) / parts);
  const int64_t rows = std::min(group, std::max<int64_t>(1, sampling_logits / run.config.vocab));
  const int64_t logits =
      parts * run.config.vocab * rows * (run.is_narrow() && run.on_cpu() ? 2 + float_size : float_size) +
      parts * kernels::cpu::with_spare(kernels::sampling_floats * float_size * run.config.vocab);
  return larger(std::max(prompts, decode_bytes(run, slots, row)), 0, logits);
}

}  // namespace

std::vector<PassMemory> pass_memory(const ModelConfig& config, const PassSettings& settings,
                                    const Workload& work) {
  const Run run(config, settings);
  const int64_t row = work.row, inference = inference_tokens(config, settings.device);
  PassMemory held;
  held.weights = weight_bytes(run, work.models);
  if (run.is_narrow()) held.master = float_size * work.trained * run.trained_elements;
  held.moments = moment_bytes(run, work.trained);
  // Large models give their gradients back after each update.
  const int64_t between = run.side_by_side ? gradient_bytes(run, work.trained) : 0;

  std::vector<PassMemory> passes;
  const auto add = [&](PassKind kind, int64_t tokens, int64_t gradients, int64_t cache, const Tokens& pass) {
    PassMemory& memory = passes.emplace_back(held);
    memory.kind = kind;
    memory.tokens = tokens;
    memory.gradients = gradients;
    memory.cache = cache;
    memory.activations = pass.activations;
    memory.logits = pass.logits;
  };
  if (work.slots > 0) {
    const int64_t tokens = micro_batch(work.slots * row, inference, std::min(row, inference));
    add(PassKind::sampling, tokens, between, cache_bytes(run, work.slots, row),
        sampling_pass(run, work.slots, tokens, row));
  }
  if (work.scored_rows > 0) {
    const int64_t tokens = micro_batch(work.scored_rows * row, inference, row);
    add(PassKind::scoring, tokens, between, 0, scoring_pass(run, tokens, row));
  }
  if (work.update_rows > 0) {
    const int64_t tokens = micro_batch(work.update_rows * row, settings.micro_batch_tokens, row);
    const Tokens actor = training_pass(run, tokens, row, true),
                 critic = training_pass(run, tokens, row, false);
    // The actor's gradients stay while the critic's pass runs, whose own are all there is more.
    const int64_t beside = std::max(gradient_bytes(run, 1), between);
    const bool critic_peaks =
        work.trained > 1 && gradient_bytes(run, work.trained) + critic.activations + critic.logits >
                                beside + actor.activations + actor.logits;
    if (critic_peaks) {
      add(PassKind::update, tokens, gradient_bytes(run, work.trained), 0, critic);
    } else {
      add(PassKind::update, tokens, beside, 0, actor);
    }
  }
  if (passes.empty()) passes.push_back(held);
  return passes;
}

}  // namespace spa
