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

at::ScalarType wide(const at::Tensor& x) { return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat; }

/// [heads, length, head_dim] of one sequence's q, k and v (k and v repeated for their group), for the ATen
/// path; wide, so that training sees what decoding saw.
struct Operands {
  at::Tensor q, k, v;
};

Operands operands(const at::Tensor& qkv, const HeadShape& shape, int64_t begin, int64_t length) {
  const at::Tensor rows = qkv.narrow(0, begin, length)
                              .to(wide(qkv))
                              .view({length, shape.heads + 2 * shape.kv_heads, shape.head_dim});
  const auto heads = [&](int64_t first, int64_t count) {
    return rows.narrow(1, first, count).transpose(0, 1);
  };
  const int64_t group = shape.heads / shape.kv_heads;
  return {heads(0, shape.heads), heads(shape.heads, shape.kv_heads).repeat_interleave(group, 0),
          heads(shape.heads + shape.kv_heads, shape.kv_heads).repeat_interleave(group, 0)};
}

/// Scores of queries [begin, begin + count) with the keys that they see: [heads, count, begin + count],
/// scaled.
at::Tensor masked_scores(const Operands& o, float scale, int64_t begin, int64_t count) {
  const int64_t seen = begin + count;
  const at::Tensor future = at::ones({count, seen}, o.q.options().dtype(at::kBool)).triu(begin + 1);
  return at::matmul(o.q.narrow(1, begin, count), o.k.narrow(1, 0, seen).transpose(1, 2))
      .mul_(scale)
      .masked_fill_(future, -INFINITY);
}

/// Calls body(begin, count) for runs of queries whose scores fit attention_scores.
template <typename Body>
void for_queries(const HeadShape& shape, int64_t length, const Body& body) {
  const int64_t step = std::clamp<int64_t>(attention_scores / (shape.heads * length), 1, length);
  for (int64_t begin = 0; begin < length; begin += step) body(begin, std::min(step, length - begin));
}

AttentionResult aten_attention(const at::Tensor& qkv, const HeadShape& shape, const at::Tensor& offsets) {
  const int64_t tokens = qkv.size(0);
  const at::Tensor output = at::empty({tokens, shape.heads * shape.head_dim}, qkv.options());
  const at::Tensor lse = at::empty({shape.heads, tokens}, qkv.options().dtype(wide(qkv)));
  const int32_t* at = offsets.const_data_ptr<int32_t>();
  for (int64_t i = 0; i + 1 < offsets.numel(); ++i) {
    const int64_t length = at[i + 1] - at[i];
    if (length == 0) continue;
    const Operands o = operands(qkv, shape, at[i], length);
    for_queries(shape, length, [&](int64_t begin, int64_t count) {
      const at::Tensor scores = masked_scores(o, shape.scale, begin, count);
      lse.narrow(1, at[i] + begin, count).copy_(scores.logsumexp(2));
      const at::Tensor mixed = at::matmul(at::softmax(scores, 2), o.v.narrow(1, 0, begin + count));
      output.narrow(0, at[i] + begin, count).copy_(mixed.transpose(0, 1).reshape({count, -1}));
    });
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
    const at::Tensor g = grad.narrow(0, at[i], length)
                             .to(wide(qkv))
                             .view({length, shape.heads, shape.head_dim})
                             .transpose(0, 1);
    const at::Tensor target =
        result.narrow(0, at[i], length).view({length, shape.heads + 2 * shape.kv_heads, shape.head_dim});
    const at::Tensor grad_k = at::zeros(o.k.sizes(), o.k.options()),
                     grad_v = at::zeros(o.v.sizes(), o.v.options());
    for_queries(shape, length, [&](int64_t begin, int64_t count) {
      const int64_t seen = begin + count;
      const at::Tensor p = at::softmax(masked_scores(o, shape.scale, begin, count), 2);
      const at::Tensor own = g.narrow(1, begin, count);
      grad_v.narrow(1, 0, seen).add_(at::matmul(p.transpose(1, 2), own));
      const at::Tensor ds = at::matmul(own, o.v.narrow(1, 0, seen).transpose(1, 2));
      ds.sub_((p * ds).sum(2, true)).mul_(p).mul_(shape.scale);
      target.narrow(0, begin, count)
          .narrow(1, 0, shape.heads)
          .copy_(at::matmul(ds, o.k.narrow(1, 0, seen)).transpose(0, 1));
      grad_k.narrow(1, 0, seen).add_(at::matmul(ds.transpose(1, 2), o.q.narrow(1, begin, count)));
    });
    const auto grouped = [&](const at::Tensor& x) {
      return x.view({shape.kv_heads, group, length, shape.head_dim}).sum(1).transpose(0, 1);
    };
    target.narrow(1, shape.heads, shape.kv_heads).copy_(grouped(grad_k));
    target.narrow(1, shape.heads + shape.kv_heads, shape.kv_heads).copy_(grouped(grad_v));
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
