#include "kernels/attention.h"

#include <algorithm>
#include <vector>

#include "kernels/aten_attention.h"
#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

struct Work {
  std::vector<int64_t> order;  // items (sequence * kv_heads + kv head), dearest first
  int64_t cost = 0;
};

/// One item for each sequence and KV head; the cost of a sequence grows with its squared length.
Work plan(const int32_t* offsets, int64_t sequences, const HeadShape& shape) {
  Work work;
  const auto length = [&](int64_t i) { return offsets[i + 1] - offsets[i]; };
  for (int64_t i = 0; i < sequences; ++i) {
    if (length(i) == 0) continue;
    work.cost += static_cast<int64_t>(length(i)) * length(i) * shape.heads * shape.head_dim;
    for (int64_t h = 0; h < shape.kv_heads; ++h) work.order.push_back(i * shape.kv_heads + h);
  }
  std::stable_sort(work.order.begin(), work.order.end(), [&](int64_t a, int64_t b) {
    return length(a / shape.kv_heads) > length(b / shape.kv_heads);
  });
  return work;
}

/// The heads of rows [begin, begin + length) of qkv, by ATen; wide, so that training sees what decoding saw.
SequenceHeads heads_of(const at::Tensor& qkv, const HeadShape& shape, int64_t begin, int64_t length) {
  const at::Tensor heads = qkv.narrow(0, begin, length)
                               .to(wide_type(qkv))
                               .view({length, shape.heads + 2 * shape.kv_heads, shape.head_dim})
                               .transpose(0, 1);
  return {heads.narrow(0, 0, shape.heads), heads.narrow(0, shape.heads, shape.kv_heads),
          heads.narrow(0, shape.heads + shape.kv_heads, shape.kv_heads)};
}

/// Calls body(begin, length) for every sequence that is not empty.
template <typename Body>
void for_sequences(const at::Tensor& offsets, const Body& body) {
  const int32_t* at = offsets.const_data_ptr<int32_t>();
  for (int64_t i = 0; i + 1 < offsets.numel(); ++i) {
    if (at[i + 1] > at[i]) body(int64_t{at[i]}, int64_t{at[i + 1] - at[i]});
  }
}

AttentionResult aten_forward(const at::Tensor& qkv, const HeadShape& shape, const at::Tensor& offsets) {
  const int64_t tokens = qkv.size(0);
  const at::Tensor output = at::empty({tokens, shape.heads * shape.head_dim}, qkv.options());
  const at::Tensor lse = at::empty({shape.heads, tokens}, qkv.options().dtype(wide_type(qkv)));
  for_sequences(offsets, [&](int64_t begin, int64_t length) {
    output.narrow(0, begin, length)
        .copy_(
            aten_attention(heads_of(qkv, shape, begin, length), shape.scale, lse.narrow(1, begin, length)));
  });
  return {output, lse};
}

at::Tensor aten_backward(const at::Tensor& grad, const at::Tensor& qkv, const HeadShape& shape,
                         const at::Tensor& offsets) {
  const at::Tensor result = at::empty_like(qkv, at::MemoryFormat::Contiguous);
  for_sequences(offsets, [&](int64_t begin, int64_t length) {
    const at::Tensor g = grad.narrow(0, begin, length)
                             .to(wide_type(qkv))
                             .view({length, shape.heads, shape.head_dim})
                             .transpose(0, 1);
    const SequenceHeads gradients =
        aten_attention_backward(g, heads_of(qkv, shape, begin, length), shape.scale);
    result.narrow(0, begin, length)
        .view({length, -1, shape.head_dim})
        .copy_(at::cat({gradients.queries, gradients.keys, gradients.values}, 0).transpose(0, 1));
  });
  return result;
}

}  // namespace

AttentionResult attention(const at::Tensor& qkv, const HeadShape& shape, const at::Tensor& offsets) {
  if (path_of(qkv) != Path::cpu) return aten_forward(qkv, shape, offsets);
  const at::Tensor rows = dense_float(qkv);
  const int64_t tokens = rows.size(0), ld = rows.size(1), ld_out = shape.heads * shape.head_dim;
  const at::Tensor output = empty_float({tokens, ld_out});
  const at::Tensor lse = empty_float({shape.heads, tokens});
  const int32_t* at = offsets.const_data_ptr<int32_t>();
  const Work work = plan(at, offsets.numel() - 1, shape);
  parallel_items(static_cast<int64_t>(work.order.size()), work.cost, [&](int64_t item) {
    const int64_t sequence = work.order[item] / shape.kv_heads;
    const int64_t begin = at[sequence];
    const float* q = rows.const_data_ptr<float>() + begin * ld;
    const float* k = q + ld_out;
    cpu::table().attention(q, k, k + shape.kv_heads * shape.head_dim, ld, at[sequence + 1] - begin, shape,
                           work.order[item] % shape.kv_heads,
                           output.mutable_data_ptr<float>() + begin * ld_out, ld_out,
                           lse.mutable_data_ptr<float>() + begin, tokens);
  });
  return {to_type(output, qkv.scalar_type()), lse};
}

at::Tensor attention_backward(const at::Tensor& grad, const at::Tensor& qkv, const AttentionResult& forward,
                              const HeadShape& shape, const at::Tensor& offsets) {
  if (path_of(qkv) != Path::cpu) return aten_backward(grad, qkv, shape, offsets);
  const at::Tensor rows = dense_float(qkv), g = dense_float(grad);
  const at::Tensor out = dense_float(forward.output);
  const int64_t tokens = rows.size(0), ld = rows.size(1), ld_out = shape.heads * shape.head_dim;
  const int64_t kv_size = shape.kv_heads * shape.head_dim;
  const at::Tensor result = empty_float(rows.sizes());
  const int32_t* at = offsets.const_data_ptr<int32_t>();
  const Work work = plan(at, offsets.numel() - 1, shape);
  parallel_items(static_cast<int64_t>(work.order.size()), work.cost * 3, [&](int64_t item) {
    const int64_t sequence = work.order[item] / shape.kv_heads;
    const int64_t begin = at[sequence];
    const float* q = rows.const_data_ptr<float>() + begin * ld;
    const float* k = q + ld_out;
    float* target = result.mutable_data_ptr<float>() + begin * ld;
    cpu::table().attention_backward(g.const_data_ptr<float>() + begin * ld_out,
                                    out.const_data_ptr<float>() + begin * ld_out, ld_out, q, k, k + kv_size,
                                    ld, forward.log_sum_exp.const_data_ptr<float>() + begin, tokens,
                                    at[sequence + 1] - begin, shape, work.order[item] % shape.kv_heads,
                                    target, target + ld_out, target + ld_out + kv_size, ld);
  });
  return to_type(result, qkv.scalar_type());
}

}  // namespace spa::kernels
