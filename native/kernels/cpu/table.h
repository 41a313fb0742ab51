// Row kernels on raw float32 pointers, compiled per instruction set and picked at load time (dispatch.h).
//
// They are serial, allocate nothing that lasts and know nothing of tensors: whoever calls them splits the
// rows over threads and may run many of them one after the other on the same rows inside one parallel region
// (the fast decode step). `ld...` are the distances in elements between rows. A row's result depends on that
// row alone (same order of additions however rows are split), so results are independent of batch composition
// and thread count.
#pragma once

#include <cstdint>

#include "kernels/dropout_mask.h"

namespace spa::kernels::cpu {

/// bfloat16 as bits.
using Bf16 = uint16_t;

/// A matrix B [depth, columns] of y = x B, in panels of 64 columns (the last one rounded up to 16,
/// zero-filled): panel p starts at data + p * 64 * depth and holds depth rows of its width. 64-byte aligned.
struct PanelMatrix {
  const float* data = nullptr;
  int64_t depth = 0;    // in_features of a weight
  int64_t columns = 0;  // out_features of a weight
};

/// Elements that a matrix takes in panels.
constexpr int64_t panel_elements(int64_t depth, int64_t columns) {
  return depth * ((columns + 15) / 16 * 16);
}

struct HeadShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;  // divides heads
  int64_t head_dim = 0;
  float scale = 0;  // of q k^T, usually 1 / sqrt(head_dim)
};

/// Tokens in a block of the KV cache.
constexpr int64_t kv_block_tokens = 32;

/// One layer of a block KV cache. Block b starts `b * block_stride` elements after `data`. In it, for each KV
/// head, stand first the keys transposed, [head_dim, kv_block_tokens], and then, for each KV head, the
/// values, [kv_block_tokens, head_dim]: 2 * kv_heads * head_dim * kv_block_tokens elements (kv_block_size).
struct KvView {
  void* data = nullptr;
  int64_t block_stride = 0;
  bool bfloat16 = false;  // else float32
};

constexpr int64_t kv_block_size(int64_t kv_heads, int64_t head_dim) {
  return 2 * kv_heads * head_dim * kv_block_tokens;
}

struct AdamWScalars {
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  float correction1, correction2;  // 1 - beta^step
  float gradient_scale;            // gradients are multiplied by it first (clipping)
};

struct SamplingScalars {
  float temperature;  // 0: greedy, ties to the lowest id
  int64_t top_k;      // 0: off
  float top_p;        // 1: off
  uint64_t seed;
};

struct Table {
  const char* name;  // "baseline", "avx2" or "avx512"

  // --- matrices
  /// Fills panels with a weight W [columns, depth] (row-major, rows `ldw` apart) for y = x W^T.
  void (*fill_panels)(const float* w, int64_t ldw, int64_t columns, int64_t depth, float* panels);
  /// y [rows, columns] = x [rows, depth] B (+ bias [columns]) (+ add [rows, columns]); bias and add may be
  /// null, add may be y.
  void (*linear)(const float* x, int64_t ldx, const PanelMatrix& b, const float* bias, const float* add,
                 int64_t ld_add, float* y, int64_t ldy, int64_t rows);
  /// c [m, n] (+)= a [m, k] b [k, n] with a's element (i, p) at a[i * a_row + p * a_column]; b and c are
  /// row-major. Sums run over p in order. `accumulate` adds to c.
  void (*gemm)(int64_t m, int64_t n, int64_t k, const float* a, int64_t a_row, int64_t a_column,
               const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate);
  /// sum [columns] += the rows of x added up in order.
  void (*add_rows)(const float* x, int64_t ldx, int64_t rows, int64_t columns, float* sum);

  // --- norms, rotations, activations
  /// y = x / rms(x) * weight, rms(x) = sqrt(mean(x^2) + epsilon). y may be x; inverse_rms [rows] may be null.
  void (*rms_norm)(const float* x, int64_t ldx, const float* weight, float epsilon, float* y, int64_t ldy,
                   float* inverse_rms, int64_t rows, int64_t width);
  /// Gradient of rms_norm. x is what was normalised. grad_x = d loss / d x (+ grad_sum, may be null, which
  /// may be grad_x); grad_weight [width] is added to.
  void (*rms_norm_backward)(const float* grad_y, int64_t ld_grad_y, const float* x, int64_t ldx,
                            const float* weight, const float* inverse_rms, const float* grad_sum,
                            int64_t ld_grad_sum, float* grad_x, int64_t ld_grad_x, float* grad_weight,
                            int64_t rows, int64_t width);
  /// Rotates, in place, `heads` heads of each row by the row's position (NeoX halves, as Hugging Face):
  /// cosine and sine are [max_positions, head_dim / 2] float32. `direction` is 1, or -1 for the gradient (the
  /// inverse rotation).
  void (*rope)(float* x, int64_t ldx, int64_t heads, int64_t head_dim, const float* cosine, const float* sine,
               const int64_t* positions, float direction, int64_t rows);
  /// y [rows, width] = silu(gate) * up for gate_up [rows, 2 * width] with gate in the first half.
  void (*swiglu)(const float* gate_up, int64_t ld_gate_up, float* y, int64_t ldy, int64_t rows,
                 int64_t width);
  /// Gradient of swiglu; grad_gate_up may be gate_up.
  void (*swiglu_backward)(const float* grad_y, int64_t ld_grad_y, const float* gate_up, int64_t ld_gate_up,
                          float* grad_gate_up, int64_t ld_grad, int64_t rows, int64_t width);

  /// The same on bfloat16, with float32 arithmetic inside and one rounding at the end.
  void (*rms_norm_bf16)(const Bf16* x, int64_t ldx, const float* weight, float epsilon, Bf16* y, int64_t ldy,
                        float* inverse_rms, int64_t rows, int64_t width);
  void (*rms_norm_backward_bf16)(const Bf16* grad_y, int64_t ld_grad_y, const Bf16* x, int64_t ldx,
                                 const float* weight, const float* inverse_rms, const Bf16* grad_sum,
                                 int64_t ld_grad_sum, Bf16* grad_x, int64_t ld_grad_x, float* grad_weight,
                                 int64_t rows, int64_t width);
  void (*rope_bf16)(Bf16* x, int64_t ldx, int64_t heads, int64_t head_dim, const float* cosine,
                    const float* sine, const int64_t* positions, float direction, int64_t rows);
  void (*swiglu_bf16)(const Bf16* gate_up, int64_t ld_gate_up, Bf16* y, int64_t ldy, int64_t rows,
                      int64_t width);
  void (*swiglu_backward_bf16)(const Bf16* grad_y, int64_t ld_grad_y, const Bf16* gate_up, int64_t ld_gate_up,
                               Bf16* grad_gate_up, int64_t ld_grad, int64_t rows, int64_t width);

  // --- attention
  /// Causal attention of ONE sequence of `length` tokens for the query heads of ONE KV head. q, k, v point at
  /// the first token's first head of each kind; tokens are ld apart, heads head_dim apart. out likewise.
  /// log_sum_exp [heads, ld_lse] (may be null) points at the first token's entry of head 0.
  void (*attention)(const float* q, const float* k, const float* v, int64_t ld, int64_t length,
                    const HeadShape& shape, int64_t kv_head, float* out, int64_t ld_out, float* log_sum_exp,
                    int64_t ld_lse);
  /// Its gradient: grad_q, grad_k, grad_v (laid out as q, k, v, rows ld_grad apart) are overwritten.
  void (*attention_backward)(const float* grad_out, const float* out, int64_t ld_out, const float* q,
                             const float* k, const float* v, int64_t ld, const float* log_sum_exp,
                             int64_t ld_lse, int64_t length, const HeadShape& shape, int64_t kv_head,
                             float* grad_q, float* grad_k, float* grad_v, int64_t ld_grad);
  /// Writes keys and values of `rows` new tokens of one slot (rows ld apart, kv heads head_dim apart) to
  /// positions first .. first + rows - 1 of the slot's blocks.
  void (*kv_append)(const KvView& cache, const int32_t* block_table, int64_t first, const float* k,
                    const float* v, int64_t ld, const HeadShape& shape, int64_t rows);
  /// Attention of `rows` new tokens of one slot, standing at positions first .. first + rows - 1 whose keys
  /// and values are already in the cache, to all positions up to their own.
  void (*attend_cached)(const float* q, int64_t ldq, const KvView& cache, const int32_t* block_table,
                        int64_t first, const HeadShape& shape, float* out, int64_t ld_out, int64_t rows);

  // --- head
  /// logits [rows, vocab] are multiplied by `inverse_temperature` in place; log_prob[r] = log_softmax at
  /// target[r], entropy[r] (may be null) in nats, log_sum_exp[r] (may be null).
  void (*log_prob)(float* logits, int64_t ld, const int64_t* target, float inverse_temperature,
                   float* log_prob, float* entropy, float* log_sum_exp, int64_t rows, int64_t vocab);
  /// Turns scaled logits into d loss / d (unscaled) logits in place, given the gradients of log_prob and
  /// entropy (the latter, with `entropy`, may be null).
  void (*log_prob_backward)(float* logits, int64_t ld, const int64_t* target, float inverse_temperature,
                            const float* log_sum_exp, const float* entropy, const float* grad_log_prob,
                            const float* grad_entropy, int64_t rows, int64_t vocab);
  /// One token per row of logits [rows, vocab] (left unchanged), and its log_softmax(logits / temperature),
  /// untruncated (temperature 0: of the logits). Draw r is uniform(seed, streams[r], positions[r]).
  void (*sample)(const float* logits, int64_t ld, const SamplingScalars& options, const uint64_t* streams,
                 const int64_t* positions, int32_t* token, float* log_prob, int64_t rows, int64_t vocab);

  // --- dropout
  /// y = x where `mask` keeps row numbers[r] and column j, times the mask's factor, else 0. y may be x.
  void (*dropout)(const float* x, int64_t ldx, const int64_t* numbers, const DropoutMask& mask, float* y,
                  int64_t ldy, int64_t rows, int64_t width);

  // --- vectors
  /// One AdamW update of n elements; parameter_bf16 (may be null) receives the rounded parameter.
  void (*adamw)(float* parameter, const float* gradient, float* first_moment, float* second_moment,
                Bf16* parameter_bf16, const AdamWScalars& scalars, int64_t n);
  /// Sum of squares, in double.
  double (*squared_norm)(const float* x, int64_t n);
  /// y += x
  void (*add)(const float* x, float* y, int64_t n);
  void (*scale)(float* x, float factor, int64_t n);
  void (*to_float)(const Bf16* x, float* y, int64_t n);
  /// Round to nearest even; NaN stays NaN.
  void (*to_bf16)(const float* x, Bf16* y, int64_t n);
};

}  // namespace spa::kernels::cpu
