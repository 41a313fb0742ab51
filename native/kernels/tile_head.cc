#include "kernels/tile_head.h"

#include <algorithm>
#include <cmath>

#include "kernels/amx/head.h"
#include "kernels/dispatch.h"
#include "kernels/tile_operands.h"

namespace spa::kernels {
namespace {

using amx::Bf16;

/// Tokens [begin, begin + count) in panels for the tiles, with their arrays filled up to whole panels.
struct Tokens {
  int64_t begin, count;
  PanelStorage hidden;  // W h^T wants h^T
  std::vector<int32_t> targets;
  float inverse_temperature;

  Tokens(const at::Tensor& all, const at::Tensor& all_targets, double temperature, int64_t first,
         int64_t last)
      : begin(first), count(last - first), inverse_temperature(static_cast<float>(1.0 / temperature)) {
    const at::Tensor rows = all.narrow(0, first, count);
    hidden = make_panels(rows.size(1), count, [&](int64_t from, int64_t to, Bf16* target) {
      amx::fill_panels_transposed(bf16_data(rows), rows.stride(0), rows.size(1), count, from, to, target);
    });
    targets.assign(panels() * amx::block, -1);
    const int64_t* source = all_targets.const_data_ptr<int64_t>() + first;
    std::transform(source, source + count, targets.begin(),
                   [](int64_t id) { return static_cast<int32_t>(id); });
  }

  int64_t panels() const { return amx::blocks_of(count); }
  amx::HeadTokens view(int64_t panel, int64_t panel_count) const {
    return {bf16_data(hidden.storage) + panel * hidden.panels().panel_stride, panel_count,
            targets.data() + panel * amx::block, inverse_temperature};
  }
  /// These tokens' part of a float32 tensor, filled up with zeros.
  std::vector<float> own(const at::Tensor& values) const {
    std::vector<float> result(panels() * amx::block, 0.0f);
    if (values.defined()) std::copy_n(values.const_data_ptr<float>() + begin, count, result.begin());
    return result;
  }
};

/// Work of a panel against `rows` of the vocabulary, for the split over threads.
int64_t panel_work(int64_t rows, int64_t width) { return rows * width * amx::block / tile_speed; }

void add_statistics(const Tokens& tokens, const at::Tensor& weight, const TokenLogProbs& result) {
  if constexpr (has_amx) {
    std::vector<amx::HeadStatistics> statistics(tokens.panels());
    const amx::HeadRows head{bf16_data(weight), weight.size(1), 0, weight.size(0)};
    parallel_rows(tokens.panels(), panel_work(head.rows, head.depth), [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p) statistics[p].start();
      amx::head_statistics(head, tokens.view(begin, end - begin), statistics.data() + begin);
    });
    for (int64_t i = 0; i < tokens.count; ++i) {
      const amx::HeadStatistics& s = statistics[i / amx::block];
      const int64_t lane = i % amx::block, at = tokens.begin + i;
      const float log_total = std::log(s.total[lane]);
      result.log_sum_exp.mutable_data_ptr<float>()[at] = s.top[lane] + log_total;
      result.log_prob.mutable_data_ptr<float>()[at] = s.picked[lane] - s.top[lane] - log_total;
      if (result.entropy.defined()) {
        // H = log Z - sum p z, with z relative to the maximum.
        result.entropy.mutable_data_ptr<float>()[at] = log_total - s.weighted[lane] / s.total[lane];
      }
    }
  }
}

/// Buffers of the gradient of tile_head_rows entries and up to tile_head_tokens tokens.
struct LogitGradients {
  int64_t
      ld;  // one block more than the tokens: rows a power of two apart would share their place in the caches
  at::Tensor by_row, by_panel, turned_weight, hidden_sums;

  LogitGradients(int64_t panels, int64_t width)
      : ld((panels + 1) * amx::block),
        by_row(empty_bf16({tile_head_rows * ld})),
        by_panel(empty_bf16({tile_head_rows * panels * amx::block})),
        turned_weight(empty_bf16({width * turned_ld()})),
        hidden_sums(at::zeros({width, panels * amx::block}, at::kFloat)) {}

  static constexpr int64_t turned_ld() { return tile_head_rows + amx::block; }
};

void add_gradients(const Tokens& tokens, const at::Tensor& hidden, const at::Tensor& weight,
                   const amx::HeadGradients& all, const LogitGradients& buffers,
                   const at::Tensor& grad_weight) {
  if constexpr (has_amx) {
    const int64_t vocab = weight.size(0), width = weight.size(1), panels = tokens.panels();
    const int64_t columns = panels * amx::block;
    PanelStorage by_token;
    if (grad_weight.defined()) {
      by_token = make_panels(tokens.count, width, [&](int64_t begin, int64_t end, Bf16* target) {
        amx::fill_panels(bf16_data(hidden) + tokens.begin * hidden.stride(0), hidden.stride(0), tokens.count,
                         width, begin, end, target);
      });
    }
    auto* by_row = mutable_bf16_data(buffers.by_row);
    auto* by_panel = mutable_bf16_data(buffers.by_panel);
    auto* turned = mutable_bf16_data(buffers.turned_weight);
    float* sums = buffers.hidden_sums.mutable_data_ptr<float>();
    for (int64_t first = 0; first < vocab; first += tile_head_rows) {
      const int64_t rows = std::min(tile_head_rows, vocab - first);
      const int64_t panel_stride = rows * amx::block;
      parallel_rows(panels, panel_work(rows, width), [&](int64_t begin, int64_t end) {
        const int64_t at = begin * amx::block;
        const auto own = [&](const float* values) { return values ? values + at : nullptr; };
        amx::head_gradient(
            {bf16_data(weight), width, first, rows}, tokens.view(begin, end - begin),
            {own(all.log_sum_exp), own(all.grad_log_prob), own(all.entropy), own(all.grad_entropy)},
            by_row + at, buffers.ld, by_panel + begin * panel_stride, panel_stride);
      });
      if (grad_weight.defined()) {
        float* target = grad_weight.mutable_data_ptr<float>() + first * width;
        parallel_blocks(rows, width * tokens.count, [&](int64_t begin, int64_t count) {
          amx::multiply(by_row + begin * buffers.ld, buffers.ld, count, by_token.panels(), by_token.steps,
                        amx::Sums{target + begin * width, width, true});
        });
      }
      parallel_blocks(width, rows * tokens.count, [&](int64_t begin, int64_t count) {
        Bf16* a = turned + begin * buffers.turned_ld();
        amx::transpose(bf16_data(weight) + first * width + begin, width, rows, count, a, buffers.turned_ld());
        amx::multiply(a, buffers.turned_ld(), count, {by_panel, panel_stride, columns}, rows / amx::block,
                      amx::Sums{sums + begin * columns, columns, true});
      });
    }
  }
}

}  // namespace

TokenLogProbs tile_log_probs(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                             double temperature, bool entropy) {
  const int64_t count = hidden.size(0);
  const at::Tensor rows = dense_rows(hidden);
  const TokenLogProbs result{at::empty({count}, at::kFloat),
                             entropy ? at::empty({count}, at::kFloat) : at::Tensor(),
                             at::empty({count}, at::kFloat)};
  for (int64_t begin = 0; begin < count; begin += tile_head_tokens) {
    const int64_t end = std::min(count, begin + tile_head_tokens);
    add_statistics(Tokens(rows, targets, temperature, begin, end), weight, result);
  }
  return result;
}

at::Tensor tile_log_probs_backward(const at::Tensor& hidden, const at::Tensor& weight,
                                   const at::Tensor& targets, double temperature,
                                   const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                                   const at::Tensor& grad_entropy, const at::Tensor& grad_weight) {
  const int64_t count = hidden.size(0), width = hidden.size(1);
  const at::Tensor rows = dense_rows(hidden);
  const at::Tensor result = empty_bf16({count, width});
  for (int64_t begin = 0; begin < count; begin += tile_head_tokens) {
    const Tokens tokens(rows, targets, temperature, begin, std::min(count, begin + tile_head_tokens));
    const LogitGradients buffers(tokens.panels(), width);
    const auto lse = tokens.own(forward.log_sum_exp), gp = tokens.own(grad_log_prob);
    const auto h = tokens.own(grad_entropy.defined() ? forward.entropy : at::Tensor{}),
               ge = tokens.own(grad_entropy);
    const bool through_entropy = grad_entropy.defined();
    add_gradients(
        tokens, rows, weight,
        {lse.data(), gp.data(), through_entropy ? h.data() : nullptr, through_entropy ? ge.data() : nullptr},
        buffers, grad_weight);
    result.narrow(0, begin, tokens.count).copy_(buffers.hidden_sums.narrow(1, 0, tokens.count).t());
  }
  return result;
}

}  // namespace spa::kernels
