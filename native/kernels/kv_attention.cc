#include "kernels/kv_attention.h"

#include "kernels/aten_attention.h"
#include "kernels/cuda/operations.h"
#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

int64_t slot_count(const KvRows& rows) { return rows.starts.numel(); }

/// A layer's keys and values of `length` positions of one slot: [kv_heads, length, head_dim] each, by ATen.
struct Cached {
  at::Tensor keys, values;
};

Cached read(const at::Tensor& pool, const HeadShape& shape, const at::Tensor& table, int64_t length) {
  const int64_t blocks = (length + kv_block_tokens - 1) / kv_block_tokens;
  const at::Tensor held = pool.index_select(0, table.narrow(0, 0, blocks).to(pool.device(), at::kLong));
  const at::Tensor keys =
      held.narrow(1, 0, held.size(1) / 2).view({blocks, shape.kv_heads, shape.head_dim, kv_block_tokens});
  const at::Tensor values = held.narrow(1, held.size(1) / 2, held.size(1) / 2)
                                .view({blocks, shape.kv_heads, kv_block_tokens, shape.head_dim});
  const auto joined = [&](const at::Tensor& x) {
    return x.reshape({shape.kv_heads, blocks * kv_block_tokens, shape.head_dim}).narrow(1, 0, length);
  };
  return {joined(keys.permute({1, 0, 3, 2})), joined(values.permute({1, 0, 2, 3}))};
}

void append(const at::Tensor& pool, const HeadShape& shape, const int32_t* table, int64_t start,
            const at::Tensor& k, const at::Tensor& v) {
  for (int64_t i = 0; i < k.size(0);) {
    const int64_t at = (start + i) % kv_block_tokens;
    const int64_t n = std::min(kv_block_tokens - at, k.size(0) - i);
    const at::Tensor block = pool.select(0, table[(start + i) / kv_block_tokens]);
    const int64_t half = block.size(0) / 2;
    block.narrow(0, 0, half)
        .view({shape.kv_heads, shape.head_dim, kv_block_tokens})
        .narrow(2, at, n)
        .copy_(k.narrow(0, i, n).permute({1, 2, 0}));
    block.narrow(0, half, half)
        .view({shape.kv_heads, kv_block_tokens, shape.head_dim})
        .narrow(1, at, n)
        .copy_(v.narrow(0, i, n).transpose(0, 1));
    i += n;
  }
}

/// Slot after slot.
at::Tensor aten_attend(const at::Tensor& qkv, const at::Tensor& pool, const HeadShape& shape,
                       const KvRows& rows) {
  const at::Tensor output = at::empty({qkv.size(0), shape.heads * shape.head_dim}, qkv.options());
  const at::ScalarType type = wide_type(qkv);
  const int32_t* offsets = rows.offsets.const_data_ptr<int32_t>();
  const int32_t* starts = rows.starts.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < slot_count(rows); ++i) {
    const int64_t n = offsets[i + 1] - offsets[i];
    if (n == 0) continue;
    const at::Tensor heads =
        qkv.narrow(0, offsets[i], n).view({n, shape.heads + 2 * shape.kv_heads, shape.head_dim});
    const at::Tensor table = rows.block_tables.select(0, i).contiguous();
    append(pool, shape, table.const_data_ptr<int32_t>(), starts[i],
           heads.narrow(1, shape.heads, shape.kv_heads),
           heads.narrow(1, shape.heads + shape.kv_heads, shape.kv_heads));
    const Cached cached = read(pool, shape, table, starts[i] + n);
    const at::Tensor queries = heads.narrow(1, 0, shape.heads).transpose(0, 1);
    output.narrow(0, offsets[i], n)
        .copy_(aten_attention({queries.to(type), cached.keys.to(type), cached.values.to(type)}, shape.scale));
  }
  return output;
}

/// Whether every slot has one new token.
bool is_decode(const KvRows& rows) {
  const int32_t* offsets = rows.offsets.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < slot_count(rows); ++i) {
    if (offsets[i + 1] - offsets[i] != 1) return false;
  }
  return slot_count(rows) > 0;
}

/// Multiply-adds of the attention of all new rows.
int64_t total_work(const KvRows& rows, const HeadShape& shape) {
  const int32_t* offsets = rows.offsets.const_data_ptr<int32_t>();
  const int32_t* starts = rows.starts.const_data_ptr<int32_t>();
  int64_t work = 0;
  for (int64_t i = 0; i < slot_count(rows); ++i) {
    const int64_t n = offsets[i + 1] - offsets[i];
    work += n * (starts[i] + n) * 2 * shape.heads * shape.head_dim;
  }
  return work;
}

/// Asks for what the next slot touches first, the start of its cache and the block it appends to, while the
/// one before it is at work.
void prefetch_slot(const char* data, int64_t block_bytes, int64_t key_bytes, const int32_t* table,
                   int64_t start) {
  constexpr int64_t line = 64, most = 4096;
  const char* first = data + table[0] * block_bytes;
  for (int64_t i = 0; i < std::min(key_bytes, most / 4); i += line) __builtin_prefetch(first + i);
  const char* last = data + table[start / kv_block_tokens] * block_bytes;
  for (int64_t i = 0; i < std::min(key_bytes, most); i += line) __builtin_prefetch(last + i, 1);
}

}  // namespace

at::Tensor append_and_attend(const at::Tensor& qkv, const at::Tensor& pool, const HeadShape& shape,
                             const KvRows& rows) {
  if constexpr (has_cuda) {
    if (path_of(qkv) == Path::cuda && is_decode(rows) && cuda::decode_attention_takes(qkv, pool, shape))
      return cuda::decode_attention(qkv, pool, shape, rows);
  }
  if (path_of(qkv) != Path::cpu || path_of(pool) != Path::cpu) return aten_attend(qkv, pool, shape, rows);
  const at::Tensor source = dense_float(qkv);
  const at::Tensor tables = rows.block_tables.contiguous();
  const int64_t ld = source.size(1), ld_out = shape.heads * shape.head_dim;
  const at::Tensor output = empty_float({source.size(0), ld_out});
  const cpu::KvView cache{pool.data_ptr(), pool.stride(0), pool.scalar_type() == at::kBFloat16};
  const int32_t* offsets = rows.offsets.const_data_ptr<int32_t>();
  const int32_t* starts = rows.starts.const_data_ptr<int32_t>();
  parallel_items(slot_count(rows), total_work(rows, shape), [&](int64_t i) {
    const int64_t begin = offsets[i], n = offsets[i + 1] - begin;
    if (n == 0) return;
    const int32_t* table = tables.const_data_ptr<int32_t>() + i * tables.size(1);
    if (i + 1 < slot_count(rows) && offsets[i + 2] > offsets[i + 1]) {
      prefetch_slot(static_cast<const char*>(cache.data), cache.block_stride * pool.element_size(),
                    pool.size(1) / 2 * pool.element_size(), table + tables.size(1), starts[i + 1]);
    }
    const float* q = source.const_data_ptr<float>() + begin * ld;
    const float* k = q + ld_out;
    cpu::table().kv_append(cache, table, starts[i], k, k + shape.kv_heads * shape.head_dim, ld, shape, n);
    cpu::table().attend_cached(q, ld, cache, table, starts[i], shape,
                               output.mutable_data_ptr<float>() + begin * ld_out, ld_out, n);
  });
  return to_type(output, qkv.scalar_type());
}

}  // namespace spa::kernels
