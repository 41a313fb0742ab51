// Attention of new tokens over a block KV cache: prefill (many new tokens a slot) and decode (one).
#pragma once

#include <ATen/ATen.h>

#include "kernels/attention.h"

namespace spa::kernels {

using cpu::kv_block_size;
using cpu::kv_block_tokens;

/// What is appended to which slot, on the CPU.
struct KvRows {
  at::Tensor offsets;  // int32 [n + 1]: new tokens of slot i are rows offsets[i] .. offsets[i + 1) of qkv
  at::Tensor starts;   // int32 [n]: tokens that slot i holds already
  at::Tensor block_tables;  // int32 [n, blocks]: block numbers of slot i, enough for starts + new tokens
  // starts and block_tables as int64 beside a pool on another device, so that layers need not send them each.
  at::Tensor device_starts = {}, device_tables = {};
};

/// Appends the keys and values of qkv [rows, (heads + 2 * kv_heads) * head_dim] (rotated already) to `pool`
/// and attends from each new token to all positions of its slot up to its own. pool [blocks,
/// kv_block_size(...)] is one layer's cache, float32 or bfloat16, dense in its last dimension (a layer's
/// slice of [blocks, layers, size] will do); its inner layout is KvView's. Blocks that are written to must
/// not be shared between slots. Returns [rows, heads * head_dim] in qkv's dtype.
at::Tensor append_and_attend(const at::Tensor& qkv, const at::Tensor& pool, const HeadShape& shape,
                             const KvRows& rows);

}  // namespace spa::kernels
