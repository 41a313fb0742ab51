#include <map>

#include "kernels/sampling.h"
#include "reference.h"

using namespace spa;
using test::error;

namespace {

kernels::SampledTokens draw(const at::Tensor& logits, const kernels::SamplingParameters& parameters,
                            int64_t first_position = 0) {
  const int64_t rows = logits.size(0);
  return kernels::sample(logits, parameters, at::full({rows}, 9, at::kLong),
                         at::arange(first_position, first_position + rows, at::kLong));
}

}  // namespace

TEST_CASE("philox: the published vectors") {
  const auto zero = kernels::philox4x32(0, 0, 0);
  CHECK(zero.word[0] == 0x6627e8d5u);
  CHECK(zero.word[1] == 0xe169c58du);
  CHECK(zero.word[2] == 0xbc57ac4cu);
  CHECK(zero.word[3] == 0x9b00dbd8u);
  const auto ones = kernels::philox4x32(~uint64_t{0}, ~uint64_t{0}, ~uint64_t{0});
  CHECK(ones.word[0] == 0x408f276du);
  CHECK(ones.word[1] == 0x41c83b0eu);
  CHECK(ones.word[2] == 0xa20bc7c6u);
  CHECK(ones.word[3] == 0x6d5451fdu);
  const auto pi = kernels::philox4x32(0x299f31d0a4093822u, 0x85a308d3243f6a88u, 0x0370734413198a2eu);
  CHECK(pi.word[0] == 0xd16cfe09u);
  CHECK(pi.word[3] == 0x24126ea1u);
}

TEST_CASE("sampling: frequencies follow the softmax, log-probs are untruncated") {
  test::on_each_isa([] {
    const int64_t vocab = 54, rows = 40000;
    const at::Tensor row = test::random({1, vocab}, 1) * 2;
    const double temperature = 1.3;
    const at::Tensor log_p = at::log_softmax(row.to(at::kDouble) / temperature, 1).view({-1});
    const auto sampled = draw(row.expand({rows, vocab}), {temperature, 0, 1.0, 42});
    const at::Tensor counts = at::bincount(sampled.tokens.to(at::kLong), {}, vocab).to(at::kDouble);
    const at::Tensor expected = log_p.exp() * rows;
    const double chi_squared = ((counts - expected).square() / expected).sum().item<double>();
    CHECK(chi_squared < 110);  // 53 degrees of freedom: beyond the 0.99999 quantile
    CHECK(error(sampled.log_probs, log_p.index_select(0, sampled.tokens.to(at::kLong))) < 2e-6);
  });
}

TEST_CASE("sampling: a draw depends on seed, stream and position alone") {
  test::on_each_isa([] {
    const at::Tensor logits = test::random({6, 100}, 1).narrow(0, 0, 1).expand({6, 100}).contiguous();
    const auto together = draw(logits, {1.0, 0, 1.0, 5});
    const auto alone = draw(logits.narrow(0, 3, 1), {1.0, 0, 1.0, 5}, 3);
    CHECK(at::equal(alone.tokens, together.tokens.narrow(0, 3, 1)));
    CHECK(at::equal(alone.log_probs, together.log_probs.narrow(0, 3, 1)));
    CHECK_FALSE(at::equal(draw(logits, {1.0, 0, 1.0, 6}).tokens, together.tokens));
  });
}

TEST_CASE("sampling: greedy, top-k and top-p") {
  test::on_each_isa([] {
    const at::Tensor row = at::tensor({1.0f, 3.0f, 2.0f, 3.0f, -5.0f, 0.0f}).view({1, 6});
    const at::Tensor many = row.expand({2000, 6});
    const at::Tensor p = at::softmax(row.to(at::kDouble), 1).view({-1});
    const auto greedy = draw(row, {0.0, 0, 1.0, 1});
    CHECK(greedy.tokens.item<int32_t>() == 1);
    CHECK(error(greedy.log_probs, p.log()[1].view({1})) < 1e-6);

    const auto drawn = [&](int64_t top_k, double top_p) {
      std::map<int32_t, int64_t> counts;
      const at::Tensor tokens = draw(many, {1.0, top_k, top_p, 3}).tokens;
      for (int64_t i = 0; i < tokens.numel(); ++i) ++counts[tokens.const_data_ptr<int32_t>()[i]];
      return counts;
    };
    CHECK(drawn(1, 1.0) == std::map<int32_t, int64_t>{{1, 2000}});
    CHECK(drawn(3, 1.0).size() == 3);
    CHECK(drawn(3, 1.0).contains(2));
    CHECK(drawn(0, 0.5).size() == 2);  // 1 and 3 hold 0.79 of the mass, one alone 0.39
    CHECK(drawn(0, 0.1).size() == 1);
    CHECK(drawn(0, 0.85).size() == 3);
    CHECK(drawn(2, 0.6).size() == 2);  // of the mass that top-k left, half each
    CHECK(drawn(2, 0.4).size() == 1);
    CHECK(drawn(6, 1.0).size() >= 5);
    const auto truncated = draw(many, {1.0, 2, 1.0, 3});
    CHECK(error(truncated.log_probs, p.log().index_select(0, truncated.tokens.to(at::kLong))) < 1e-6);
  });
}

TEST_CASE("sampling: one token, large vocabularies, logits of minus infinity") {
  test::on_each_isa([] {
    CHECK(draw(at::zeros({3, 1}), {1.0, 0, 1.0, 1}).tokens.sum().item<int64_t>() == 0);
    at::Tensor logits = at::full({50, 1000}, -INFINITY);
    logits.select(1, 777).fill_(4.0f);
    logits.select(1, 3).fill_(4.0f);
    const at::Tensor tokens = draw(logits, {1.0, 0, 1.0, 1}).tokens;
    CHECK((tokens.eq(777) | tokens.eq(3)).all().item<bool>());
    CHECK(tokens.eq(777).any().item<bool>());
    CHECK(tokens.eq(3).any().item<bool>());
  });
}
