#include "kernels/attention.h"

#include <vector>

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

/// [heads, length, head_dim] of one sequence's q, k and v (k and v repeated for their group), for the ATen
/// path.
struct Operands {
  at::Tensor q, k, v;
};

Operands operands(const at::Tensor& qkv, const HeadShape& shape, int64_t begin, int64_t length) {
  const at::Tensor rows =
      qkv.narrow(0, begin, length).view({length, shape.heads + 2 * shape.kv_heads, shape.head_dim});
  const auto heads = [&](int64_t first, int64_t count) {
    return rows.narrow(1, first, count).transpose(0, 1);
  };
  const int64_t group = shape.heads / shape.kv_heads;
  return {heads(0, shape.heads), heads(shape.heads, shape.kv_heads).repeat_interleave(group, 0),
          heads(shape.heads + shape.kv_heads, shape.kv_heads).repeat_interleave(group, 0)};
}

at::Tensor masked_scores(const Operands& o, float scale) {
  const int64_t length = o.q.size(1);
  const at::Tensor future = at::ones({length, length}, o.q.options().dtype(at::kBool)).triu(1);
  const at::ScalarType type = o.q.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::matmul(o.q, o.k.transpose(1, 2)).to(type).mul(scale).masked_fill(future, -INFINITY);
}

AttentionResult aten_attention(const at::Tensor& qkv, const HeadShape& shape, const at::Tensor& offsets) {
  const at::ScalarType type = qkv.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const int64_t tokens = qkv.size(0);
  const at::Tensor output = at::empty({tokens, shape.heads * shape.head_dim}, qkv.options());
  const at::Tensor lse = at::empty({shape.heads, tokens}, qkv.options().dtype(type));
  const int32_t* at = offsets.const_data_ptr<int32_t>();
  for (int64_t i = 0; i + 1 < offsets.numel(); ++i) {
    const int64_t length = at[i + 1] - at[i];
    if (length == 0) continue;
    const Operands o = operands(qkv, shape, at[i], length);
    const at::Tensor scores = masked_scores(o, shape.scale);
    lse.narrow(1, at[i], length).copy_(scores.logsumexp(2));
    const at::Tensor mixed = at::matmul(at::softmax(scores, 2).to(qkv.scalar_type()), o.v);
    output.narrow(0, at[i], length).copy_(mixed.transpose(0, 1).reshape({length, -1}));
  }
  return {output, lse};
}

at::Tensor aten_backward(const at::Tensor& grad, const at::Tensor& qkv, const HeadShape& shape,
                         const at::Tensor& offsets) {
  const at::Tensor result = at::zeros_like(qkv);
  const int32_t* at = offsets.const_data_ptr<int32_t>();
  const int64_t group = shape.heads / shape.kv_heads;
  for (int64_t i = 0; i + 1 < offsets.numel(); ++i) {
    const int64_t length = at[i + 1] - at[i];
    if (length == 0) continue;
    const Operands o = operands(qkv, shape, at[i], length);
    const at::Tensor p = at::softmax(masked_scores(o, shape.scale), 2);
    const at::Tensor g =
        grad.narrow(0, at[i], length).view({length, shape.heads, shape.head_dim}).transpose(0, 1);
    const at::Tensor dp = at::matmul(g, o.v.transpose(1, 2)).to(p.scalar_type());
    const at::Tensor ds = (p * (dp - (p * dp).sum(2, true)) * shape.scale).to(qkv.scalar_type());
    const auto grouped = [&](const at::Tensor& x) {
      return x.view({shape.kv_heads, group, length, shape.head_dim}).sum(1).transpose(0, 1);
    };
    const at::Tensor target =
        result.narrow(0, at[i], length).view({length, shape.heads + 2 * shape.kv_heads, shape.head_dim});
    target.narrow(1, 0, shape.heads).copy_(at::matmul(ds, o.k).transpose(0, 1));
    target.narrow(1, shape.heads, shape.kv_heads).copy_(grouped(at::matmul(ds.transpose(1, 2), o.q)));
    target.narrow(1, shape.heads + shape.kv_heads, shape.kv_heads)
        .copy_(grouped(at::matmul(p.to(qkv.scalar_type()).transpose(1, 2), g)));
  }
  return result;
}

}  // namespace

AttentionResult attention(const at::Tensor& qkv, const HeadShape& shape, const at::Tensor& offsets) {
  if (path_of(qkv) != Path::cpu) return aten_attention(qkv, shape, offsets);
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
