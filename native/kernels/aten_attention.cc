#include "kernels/aten_attention.h"

#include <algorithm>

namespace spa::kernels {
namespace {

/// Some queries of a sequence and the positions that the last of them sees. Query heads are grouped by their
/// KV head: [kv_heads, group * count, ...].
struct Part {
  int64_t begin, count, seen;

  /// Their rows of x [heads, n, width], grouped.
  at::Tensor rows(const at::Tensor& x, int64_t kv_heads) const {
    return x.narrow(1, begin, count).reshape({kv_heads, -1, x.size(2)});
  }
  /// The positions that they see of x [kv_heads, length, width].
  at::Tensor past(const at::Tensor& x) const { return x.narrow(1, 0, seen); }
};

/// Queries that are taken at a time of n.
int64_t part_of(int64_t heads, int64_t n, int64_t length) {
  return std::clamp<int64_t>(attention_scores / (heads * length), 1, n);
}

template <typename Body>
void for_parts(const SequenceHeads& s, const Body& body) {
  const int64_t n = s.queries.size(1), length = s.keys.size(1);
  const int64_t step = part_of(s.queries.size(0), n, length);
  for (int64_t begin = 0; begin < n; begin += step) {
    const int64_t count = std::min(step, n - begin);
    body(Part{begin, count, length - n + begin + count});
  }
}

/// Scaled scores [heads, count, seen]; -infinity for what is still to come.
at::Tensor masked_scores(const SequenceHeads& s, const Part& part, float scale) {
  const int64_t kv_heads = s.keys.size(0);
  const at::Tensor scores =
      at::matmul(part.rows(s.queries, kv_heads), part.past(s.keys).transpose(1, 2)).mul_(scale);
  const at::Tensor future =
      at::ones({part.count, part.seen}, scores.options().dtype(at::kBool)).triu(part.seen - part.count + 1);
  return scores.view({s.queries.size(0), part.count, part.seen}).masked_fill_(future, -INFINITY);
}

}  // namespace

at::Tensor aten_attention(const SequenceHeads& s, float scale, const at::Tensor& log_sum_exp) {
  const int64_t heads = s.queries.size(0), n = s.queries.size(1), kv_heads = s.keys.size(0);
  const at::Tensor output = at::empty({n, heads * s.queries.size(2)}, s.queries.options());
  for_parts(s, [&](const Part& part) {
    const at::Tensor scores = masked_scores(s, part, scale);
    if (log_sum_exp.defined()) log_sum_exp.narrow(1, part.begin, part.count).copy_(scores.logsumexp(2));
    const at::Tensor weights = at::softmax(scores, 2).view({kv_heads, -1, part.seen});
    const at::Tensor mixed = at::matmul(weights, part.past(s.values)).view({heads, part.count, -1});
    output.narrow(0, part.begin, part.count).copy_(mixed.transpose(0, 1).reshape({part.count, -1}));
  });
  return output;
}

SequenceHeads aten_attention_backward(const at::Tensor& grad, const SequenceHeads& s, float scale) {
  const int64_t kv_heads = s.keys.size(0);
  const SequenceHeads result{at::empty_like(s.queries, at::MemoryFormat::Contiguous),
                             at::zeros_like(s.keys, at::MemoryFormat::Contiguous),
                             at::zeros_like(s.values, at::MemoryFormat::Contiguous)};
  for_parts(s, [&](const Part& part) {
    const at::Tensor weights = at::softmax(masked_scores(s, part, scale), 2).view({kv_heads, -1, part.seen});
    const at::Tensor own = part.rows(grad, kv_heads);
    part.past(result.values).add_(at::matmul(weights.transpose(1, 2), own));
    const at::Tensor scores = at::matmul(own, part.past(s.values).transpose(1, 2));
    scores.sub_((weights * scores).sum(2, true)).mul_(weights).mul_(scale);
    result.queries.narrow(1, part.begin, part.count)
        .copy_(at::matmul(scores, part.past(s.keys)).view({-1, part.count, s.keys.size(2)}));
    part.past(result.keys).add_(at::matmul(scores.transpose(1, 2), part.rows(s.queries, kv_heads)));
  });
  return result;
}

int64_t aten_attention_bytes(const HeadShape& shape, int64_t queries, int64_t length, bool gradient) {
  const int64_t float_size = 4, query_size = shape.heads * shape.head_dim,
                kv_size = shape.kv_heads * shape.head_dim;
  const int64_t step = part_of(shape.heads, queries, length), whole = queries / step * step;
  // The last whole part sees most of its like; what is left over sees everything.
  const int64_t scores =
      shape.heads * std::max(step * (length - queries + whole), (queries - whole) * length);
  // Scores and weights and, for the gradient, their product; of the part's queries the result in two orders,
  // or the gradient that comes in.
  if (!gradient) return float_size * (queries * query_size + 2 * scores + 2 * step * query_size);
  return float_size * (queries * query_size + 2 * length * kv_size + 3 * scores + step * query_size);
}

}  // namespace spa::kernels
