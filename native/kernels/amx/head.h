// The output layer of a language model on tiles: logits W h^T of 32 vocabulary entries and 32 tokens at a
// time, used up where they are made.
#pragma once

#include <cstdint>

#include "kernels/amx/gemm.h"

namespace spa::kernels::amx {

/// Softmax statistics of a panel of 32 tokens, over logits / temperature; start() before the first rows.
struct HeadStatistics {
  float top[block];       // largest so far
  float total[block];     // sum of exp(z - top)
  float weighted[block];  // sum of exp(z - top) * (z - top)
  float picked[block];    // z of the target

  void start();
};

/// A weight [vocab, depth], dense, from the row `first` on.
struct HeadRows {
  const Bf16* weight;
  int64_t depth;  // a multiple of 32
  int64_t first;
  int64_t rows;  // a multiple of 32
};

/// What belongs to the tokens of some panels, arrays of 32 * panels entries (what fills up the last panel has
/// gradients of 0).
struct HeadTokens {
  const Bf16* panels;  // hidden states, from fill_panels_transposed
  int64_t count;       // of panels
  const int32_t* targets;
  float inverse_temperature;
};

/// Adds the rows' logits to the statistics of each panel. A token's statistics depend on that token alone.
void head_statistics(const HeadRows& head, const HeadTokens& tokens, HeadStatistics* statistics);

/// Gradients of the log-probs and of the entropies (may be null, then `entropy` is not read).
struct HeadGradients {
  const float* log_sum_exp;
  const float* grad_log_prob;
  const float* entropy;
  const float* grad_entropy;
};

/// d loss / d logits of the rows, twice: `by_row` [rows, 32 * count] (rows ld apart), and as panels of 32
/// tokens, in panels along the rows (`panel_stride` elements apart).
void head_gradient(const HeadRows& head, const HeadTokens& tokens, const HeadGradients& gradients,
                   Bf16* by_row, int64_t ld, Bf16* by_panel, int64_t panel_stride);

}  // namespace spa::kernels::amx
