#include "kernel_test.h"

using namespace spa;
using namespace spa::test;
using kernels::cuda::kv_block_tokens;

namespace {

/// A cache of NaN but for what its slots hold, their blocks scattered.
template <typename T>
struct Case {
  kernels::cuda::HeadShape shape;
  std::vector<int64_t> starts;
  int64_t chunk;

  int64_t slots() const { return static_cast<int64_t>(starts.size()); }
  int64_t width() const { return (shape.heads + 2 * shape.kv_heads) * shape.head_dim; }
  int64_t longest() const { return *std::max_element(starts.begin(), starts.end()) / kv_block_tokens + 1; }
  int64_t block_size() const { return kernels::cpu::kv_block_size(shape.kv_heads, shape.head_dim); }
  int64_t stride() const { return 3 * block_size(); }  // a layer's slice of a pool of three
  int64_t blocks() const { return slots() * longest(); }
  int64_t splits() const { return (longest() + chunk - 1) / chunk; }
  int64_t block_of(int64_t slot, int64_t i) const { return ((slot * longest() + i) * 101 + 3) % blocks(); }
  /// Where dimension d of a position's key (or value) lies.
  int64_t place(int64_t slot, int64_t position, int64_t kv_head, int64_t d, bool value) const {
    const int64_t part = shape.head_dim * kv_block_tokens, within = position % kv_block_tokens;
    const int64_t base = block_of(slot, position / kv_block_tokens) * stride() +
                         (value ? shape.kv_heads + kv_head : kv_head) * part;
    return base + (value ? within * shape.head_dim + d : d * kv_block_tokens + within);
  }

  std::vector<T> qkv() const { return normal<T>(slots() * width(), 1); }
  std::vector<T> pool() const {
    std::vector<T> result(blocks() * stride(), narrowed<T>(NAN));
    const auto fill = normal<T>(4099, 2);
    size_t next = 0;
    for (int64_t s = 0; s < slots(); ++s) {
      for (int64_t p = 0; p < starts[s]; ++p) {
        for (int64_t h = 0; h < shape.kv_heads; ++h) {
          for (int64_t d = 0; d < shape.head_dim; ++d) {
            result[place(s, p, h, d, false)] = fill[next++ % fill.size()];
            result[place(s, p, h, d, true)] = fill[next++ % fill.size()];
          }
        }
      }
    }
    return result;
  }

  /// The output, and the pool afterwards.
  std::vector<Numbers> reference() const {
    Numbers output, cache = numbers(pool());
    const Numbers rows = numbers(qkv());
    for (int64_t s = 0; s < slots(); ++s) {
      const double* row = rows.data() + s * width();
      for (int64_t h = 0; h < shape.kv_heads; ++h) {
        for (int64_t d = 0; d < shape.head_dim; ++d) {
          cache[place(s, starts[s], h, d, false)] = row[(shape.heads + h) * shape.head_dim + d];
          cache[place(s, starts[s], h, d, true)] =
              row[(shape.heads + shape.kv_heads + h) * shape.head_dim + d];
        }
      }
      for (int64_t head = 0; head < shape.heads; ++head) {
        const int64_t kv_head = head / (shape.heads / shape.kv_heads);
        Numbers weights, mixed(shape.head_dim);
        double total = 0;
        for (int64_t p = 0; p <= starts[s]; ++p) {
          double score = 0;
          for (int64_t d = 0; d < shape.head_dim; ++d)
            score += row[head * shape.head_dim + d] * cache[place(s, p, kv_head, d, false)];
          weights.push_back(std::exp(score * double{shape.scale}));
          total += weights.back();
        }
        for (int64_t p = 0; p <= starts[s]; ++p) {
          for (int64_t d = 0; d < shape.head_dim; ++d)
            mixed[d] += weights[p] / total * cache[place(s, p, kv_head, d, true)];
        }
        output.insert(output.end(), mixed.begin(), mixed.end());
      }
    }
    return {output, cache};
  }

  std::vector<Numbers> run() const {
    std::vector<int64_t> block_numbers;
    for (int64_t s = 0; s < slots(); ++s) {
      for (int64_t i = 0; i < longest(); ++i) block_numbers.push_back(block_of(s, i));
    }
    const auto rows = input(qkv());
    const auto lengths = input(starts), tables = input(block_numbers);
    const DeviceArray<T> cache(pool()), output(slots() * shape.heads * shape.head_dim);
    const DeviceArray<float> partial(splits() > 1 ? slots() * shape.heads * splits() * (shape.head_dim + 2)
                                                  : 0);
    kernels::cuda::decode_attention({element_of<T>,
                                     shape,
                                     slots(),
                                     rows.data(),
                                     cache.data(),
                                     stride(),
                                     lengths.data(),
                                     tables.data(),
                                     longest(),
                                     {chunk, splits()},
                                     partial.data(),
                                     output.data()},
                                    nullptr);
    return {written(output), written(cache)};
  }
};

template <typename T>
void check(int64_t heads, int64_t kv_heads, int64_t head_dim, std::vector<int64_t> starts, int64_t chunk) {
  CAPTURE(heads);
  CAPTURE(head_dim);
  CAPTURE(chunk);
  const Case<T> c{{heads, kv_heads, head_dim, 1.0f / std::sqrt(static_cast<float>(head_dim))}, starts, chunk};
  const auto actual = prove([&] { return c.run(); });
  const auto expected = c.reference();
  CHECK(error(actual[0], expected[0]) < allowed<T>(3e-6));
  bool same = actual[1].size() == expected[1].size();
  for (size_t i = 0; same && i < actual[1].size(); ++i)
    same = actual[1][i] == expected[1][i] || (std::isnan(actual[1][i]) && std::isnan(expected[1][i]));
  CHECK(same);
}

}  // namespace

TEST_CASE_TEMPLATE("cuda decode attention: rows of all lengths, whole and in chunks", T, float,
                   __nv_bfloat16) {
  check<T>(1, 1, 16, {0}, 8);
  check<T>(4, 2, 32, {0, 31, 32, 95}, 8);
  check<T>(14, 2, 64, {1, 200, 63}, 2);  // the longest in four chunks, others in one
  check<T>(6, 1, 24, {130, 5}, 1);       // packs of a row that do not divide a warp
  check<T>(3, 1, 80, {40}, 8);
  check<T>(20, 1, 16, {70, 33}, 2);  // query heads in three parts
  check<T>(5, 1, 256, {37, 129}, 3);
}

TEST_CASE_TEMPLATE("cuda decode attention: each barrier is needed", T, float, __nv_bfloat16) {
  const Case<T> c{{4, 1, 32, 0.5f}, {500, 3}, 16};
  prove_barriers("decode_attention.cu", {[&] { return c.run(); }});
}

TEST_CASE("cuda decode attention: splits fill the card, cover the longest row and stay within their bound") {
  const auto split = [](const std::vector<int32_t>& starts, int64_t kv_heads) {
    const auto found = kernels::decode_split(starts.data(), static_cast<int64_t>(starts.size()), kv_heads);
    const int32_t longest = starts.empty() ? 0 : *std::max_element(starts.begin(), starts.end());
    CHECK(found.chunk * found.splits * kv_block_tokens > longest);
    CHECK(static_cast<int64_t>(starts.size()) * found.splits <=
          kernels::most_decode_chunks(static_cast<int64_t>(starts.size()), kv_heads));
    return found.splits;
  };
  CHECK(split({}, 2) == 1);
  CHECK(split({8191, 40}, 2) == 32);
  CHECK(split(std::vector<int32_t>(512, 1023), 2) == 1);
  std::vector<int32_t> uneven(256, 63);
  uneven[17] = 8191;
  CHECK(split(uneven, 2) == 3);
  CHECK(kernels::cuda::decode_attention_takes(kernels::cuda::Element::float32, 20));
  CHECK_FALSE(kernels::cuda::decode_attention_takes(kernels::cuda::Element::bfloat16, 20));
}
