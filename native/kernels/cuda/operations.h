// CUDA kernels on tensors. Reached only in a build with CUDA (dispatch.h).
//
// Operands are float32 or bfloat16 on one CUDA device; arithmetic is float32; kernels run on the current
// stream. Meanings and shapes are those of the operations' own headers.
#pragma once

#include <ATen/ATen.h>

#include "kernels/adamw.h"
#include "kernels/dropout.h"
#include "kernels/kv_attention.h"
#include "kernels/log_prob.h"
#include "kernels/rms_norm.h"
#include "kernels/sampling.h"

namespace spa::kernels::cuda {

RmsNormResult rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);
at::Tensor rms_norm_backward(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& inverse_rms, const at::Tensor& grad_sum,
                             const at::Tensor& grad_weight);

void rope(const at::Tensor& x, int64_t heads, int64_t head_dim, const at::Tensor& cosine,
          const at::Tensor& sine, const at::Tensor& positions, float direction);

at::Tensor swiglu(const at::Tensor& gate_up);
at::Tensor swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up);

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const DropoutKey& key);

/// A decode step: every slot of `rows` has one new token. qkv and pool are of one type that has kernels for
/// the head size.
at::Tensor decode_attention(const at::Tensor& qkv, const at::Tensor& pool, const HeadShape& shape,
                            const KvRows& rows);
bool decode_attention_takes(const at::Tensor& qkv, const at::Tensor& pool, const HeadShape& shape);

/// Rows [begin, begin + logits.size(0)) of `result` from float32 logits [rows, vocab], dense.
void log_prob(const at::Tensor& logits, const at::Tensor& targets, double temperature, int64_t begin,
              const TokenLogProbs& result);
/// d loss / d logits [rows, vocab] of those rows in `type`, in the memory of the logits.
at::Tensor log_prob_backward(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                             int64_t begin, const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                             const at::Tensor& grad_entropy, at::ScalarType type);

/// Results on the device.
SampledTokens sample(const at::Tensor& logits, const SamplingParameters& parameters,
                     const at::Tensor& streams, const at::Tensor& positions);

void adamw(const AdamWBuffers& buffers, const AdamWParameters& parameters);

}  // namespace spa::kernels::cuda
