// The CUDA kernels on raw pointers, without tensors: what operations.h makes of tensors, and what the tests
// run on the CPU. Compiles without CUDA's headers.
//
// Pointers are into device memory; matrices are row-major and dense unless a distance between rows is given.
// Elements are float32 or bfloat16, arithmetic is float32. Launches go to `stream`. Sizes of zero launch
// nothing. Meanings are those of the operations' own headers.
#pragma once

#include <cstdint>

#include "kernels/adamw_parameters.h"
#include "kernels/cpu/table.h"
#include "kernels/decode_split.h"
#include "kernels/dropout_mask.h"

struct CUstream_st;

namespace spa::kernels::cuda {

using Stream = CUstream_st*;

enum class Element { float32, bfloat16 };

struct RmsNorm {
  Element element;
  int64_t rows, width;
  const void* x;        // [rows, width]
  const float* weight;  // [width]
  float epsilon;
  void* y;             // [rows, width]
  float* inverse_rms;  // [rows]
};
void rms_norm(const RmsNorm& norm, Stream stream);

struct RmsNormBackward {
  Element element;
  int64_t rows, width;
  const void* grad_y;  // [rows, width]
  const void* x;
  const float* weight;
  const float* inverse_rms;
  const void* grad_sum;  // [rows, width] or null
  void* grad_x;          // [rows, width]
  float* grad_weight;    // [width], added to; or null
  float* partial;        // [rms_norm_chunks(rows), width], scratch for grad_weight
};
void rms_norm_backward(const RmsNormBackward& norm, Stream stream);

/// Chunks of rows whose weight gradients are summed before the sums are.
int64_t rms_norm_chunks(int64_t rows);

struct Rope {
  Element element;
  int64_t rows, ld, heads, head_dim;
  void* x;              // [rows, heads * head_dim], rows ld apart
  const float* cosine;  // [positions, head_dim / 2]
  const float* sine;
  const int64_t* positions;  // [rows]
  float direction;
};
void rope(const Rope& rope, Stream stream);

struct SwiGlu {
  Element element;
  int64_t rows, width;
  const void* gate_up;  // [rows, 2 * width]
  void* y;              // [rows, width]
};
void swiglu(const SwiGlu& activation, Stream stream);

struct SwiGluBackward {
  Element element;
  int64_t rows, width;
  const void* grad;     // [rows, width]
  const void* gate_up;  // [rows, 2 * width]
  void* grad_gate_up;   // [rows, 2 * width]
};
void swiglu_backward(const SwiGluBackward& activation, Stream stream);

struct Dropout {
  Element element;
  int64_t rows, width;
  const void* x;
  const int64_t* numbers;  // [rows]
  DropoutMask mask;
  void* y;
};
void dropout(const Dropout& dropout, Stream stream);

using cpu::HeadShape;
using cpu::kv_block_tokens;

/// One new token a slot: appends its key and value to the cache and attends to all positions up to its own.
/// Scores and sums are float32; queries of a KV head share its loads.
struct DecodeAttention {
  Element element;  // of qkv, pool and output
  HeadShape shape;
  int64_t slots;
  const void* qkv;        // [slots, (heads + 2 * kv_heads) * head_dim], rotated
  void* pool;             // one layer's cache, laid out as cpu::KvView says; blocks are 16-byte aligned
  int64_t block_stride;   // elements
  const int64_t* starts;  // [slots]: tokens that the slot holds already
  const int64_t* tables;  // [slots, table_width]: its blocks
  int64_t table_width;
  DecodeSplit split;
  float* partial;  // [slots, heads, splits, head_dim + 2], scratch where there is more than one split
  void* output;    // [slots, heads * head_dim]
};
void decode_attention(const DecodeAttention& attention, Stream stream);

/// Whether decode_attention has kernels for heads of this size.
bool decode_attention_takes(Element element, int64_t head_dim);

/// Statistics of log_softmax(inverse_temperature * logits) of a row, and what it is at the target.
struct LogProb {
  int64_t rows, vocab;
  const float* logits;     // [rows, vocab]
  const int64_t* targets;  // [rows]
  float inverse_temperature;
  float* log_prob;     // [rows]
  float* entropy;      // [rows] or null
  float* log_sum_exp;  // [rows]
};
void log_prob(const LogProb& head, Stream stream);

/// Logits become d loss / d logits in place. In bfloat16 a row's gradient takes the first half of its place:
/// rows stay vocab floats apart.
struct LogProbBackward {
  Element element;  // of the gradient
  int64_t rows, vocab;
  float* logits;  // [rows, vocab]
  const int64_t* targets;
  float inverse_temperature;
  const float* log_sum_exp;
  const float* entropy;  // or null, with grad_entropy
  const float* grad_log_prob;
  const float* grad_entropy;
};
void log_prob_backward(const LogProbBackward& head, Stream stream);

struct Sample {
  Element element;
  int64_t rows, vocab;
  const void* logits;  // [rows, vocab]
  float temperature;   // 0: greedy
  int64_t top_k;       // 0: off
  float top_p;         // 1: off
  uint64_t seed;
  const int64_t* streams;    // [rows]
  const int64_t* positions;  // [rows]
  int32_t* tokens;           // [rows]
  float* log_probs;          // [rows]
};
void sample(const Sample& sample, Stream stream);

struct AdamW {
  int64_t size;
  float* parameter;
  const float* gradient;
  float* first_moment;
  float* second_moment;
  void* rounded;  // the parameter in bfloat16, or null
};
void adamw(const AdamW& buffers, const AdamWParameters& parameters, Stream stream);

}  // namespace spa::kernels::cuda
