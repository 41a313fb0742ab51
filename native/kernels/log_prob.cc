#include "kernels/log_prob.h"

#include "kernels/cpu/scratch.h"
#include "kernels/cuda/operations.h"
#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/linear.h"
#include "kernels/parallel.h"
#include "kernels/tile_head.h"

namespace spa::kernels {
namespace {

/// Tokens whose logits are made at a time.
int64_t chunk_tokens(const at::Tensor& hidden, int64_t vocab, int64_t asked) {
  const int64_t budget = asked > 0 ? asked : logits_budget(hidden.device()), tokens = hidden.size(0);
  return std::clamp<int64_t>(budget / std::max<int64_t>(1, vocab), 1, std::max<int64_t>(1, tokens));
}

struct Chunk {
  int64_t begin, rows;
};

/// Overwrites the logits.
void aten_forward(const at::Tensor& logits, const at::Tensor& targets, double temperature, const Chunk& chunk,
                  const TokenLogProbs& result) {
  logits.div_(temperature);
  const at::Tensor lse = logits.logsumexp(1);
  const at::Tensor picked =
      logits.gather(1, targets.narrow(0, chunk.begin, chunk.rows).unsqueeze(1)).squeeze(1);
  result.log_sum_exp.narrow(0, chunk.begin, chunk.rows).copy_(lse);
  result.log_prob.narrow(0, chunk.begin, chunk.rows).copy_(picked - lse);
  if (result.entropy.defined()) {
    const at::Tensor log_p = logits.sub_(lse.unsqueeze(1));
    result.entropy.narrow(0, chunk.begin, chunk.rows).copy_(log_p.exp().mul_(log_p).sum(1).neg_());
  }
}

void cpu_forward(const at::Tensor& logits, const at::Tensor& targets, float inverse_temperature,
                 const Chunk& chunk, const TokenLogProbs& result) {
  const int64_t vocab = logits.size(1);
  float* entropy =
      result.entropy.defined() ? result.entropy.mutable_data_ptr<float>() + chunk.begin : nullptr;
  parallel_rows(chunk.rows, vocab * 8, [&](int64_t begin, int64_t end) {
    const int64_t at = chunk.begin + begin;
    cpu::table().log_prob(logits.mutable_data_ptr<float>() + begin * vocab, vocab,
                          targets.const_data_ptr<int64_t>() + at, inverse_temperature,
                          result.log_prob.mutable_data_ptr<float>() + at, entropy ? entropy + begin : nullptr,
                          result.log_sum_exp.mutable_data_ptr<float>() + at, end - begin, vocab);
  });
}

/// Logits -> d loss / d logits, in place.
void aten_logit_gradient(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                         const Chunk& chunk, const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                         const at::Tensor& grad_entropy) {
  const auto column = [&](const at::Tensor& x) {
    return x.narrow(0, chunk.begin, chunk.rows).to(logits.scalar_type()).unsqueeze(1);
  };
  const at::Tensor log_p = logits.div_(temperature).sub_(column(forward.log_sum_exp));
  const at::Tensor gp = column(grad_log_prob);
  at::Tensor factor = gp;
  if (grad_entropy.defined()) {
    factor = (log_p + column(forward.entropy)).mul_(column(grad_entropy)).add_(gp);
  }
  log_p.exp_().mul_(factor).neg_();
  logits.scatter_add_(1, targets.narrow(0, chunk.begin, chunk.rows).unsqueeze(1), gp).div_(temperature);
}

void cpu_logit_gradient(const at::Tensor& logits, const at::Tensor& targets, float inverse_temperature,
                        const Chunk& chunk, const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                        const at::Tensor& grad_entropy) {
  const int64_t vocab = logits.size(1);
  const bool with_entropy = grad_entropy.defined();
  parallel_rows(chunk.rows, vocab * 8, [&](int64_t begin, int64_t end) {
    const int64_t at = chunk.begin + begin;
    float* rows = logits.mutable_data_ptr<float>() + begin * vocab;
    cpu::table().scale(rows, inverse_temperature, (end - begin) * vocab);
    cpu::table().log_prob_backward(rows, vocab, targets.const_data_ptr<int64_t>() + at, inverse_temperature,
                                   forward.log_sum_exp.const_data_ptr<float>() + at,
                                   with_entropy ? forward.entropy.const_data_ptr<float>() + at : nullptr,
                                   grad_log_prob.const_data_ptr<float>() + at,
                                   with_entropy ? grad_entropy.const_data_ptr<float>() + at : nullptr,
                                   end - begin, vocab);
  });
}

void forward_chunk(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                   const Chunk& chunk, const TokenLogProbs& result) {
  const Path path = path_of(logits);
  if constexpr (has_cuda) {
    if (path == Path::cuda) return cuda::log_prob(logits, targets, temperature, chunk.begin, result);
  }
  if (path == Path::cpu)
    return cpu_forward(logits, targets, static_cast<float>(1.0 / temperature), chunk, result);
  aten_forward(logits, targets, temperature, chunk, result);
}

/// Overwrites the logits; the gradient is of `type`.
at::Tensor logit_gradient(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                          const Chunk& chunk, const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                          const at::Tensor& grad_entropy, at::ScalarType type) {
  const Path path = path_of(logits);
  if constexpr (has_cuda) {
    if (path == Path::cuda) {
      return cuda::log_prob_backward(logits, targets, temperature, chunk.begin, forward, grad_log_prob,
                                     grad_entropy, type);
    }
  }
  if (path == Path::cpu) {
    cpu_logit_gradient(logits, targets, static_cast<float>(1.0 / temperature), chunk, forward, grad_log_prob,
                       grad_entropy);
  } else {
    aten_logit_gradient(logits, targets, temperature, chunk, forward, grad_log_prob, grad_entropy);
  }
  return to_type(logits, type);
}

}  // namespace

int64_t logits_budget(at::Device device) { return device.is_cpu() ? int64_t{1} << 22 : int64_t{1} << 25; }

TokenLogProbs token_log_probs(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                              double temperature, bool entropy, int64_t budget) {
  if (product_of(hidden, weight) == Product::tiles)
    return tile_log_probs(hidden, weight, targets.contiguous(), temperature, entropy);
  const int64_t tokens = hidden.size(0), vocab = weight.size(0);
  const auto options = hidden.options().dtype(wide_type(hidden));
  const TokenLogProbs result{at::empty({tokens}, options),
                             entropy ? at::empty({tokens}, options) : at::Tensor(),
                             at::empty({tokens}, options)};
  const int64_t step = chunk_tokens(hidden, vocab, budget);
  for (int64_t begin = 0; begin < tokens; begin += step) {
    const Chunk chunk{begin, std::min(step, tokens - begin)};
    const at::Tensor logits = wide_linear(hidden.narrow(0, begin, chunk.rows), weight);
    forward_chunk(logits, targets, temperature, chunk, result);
  }
  return result;
}

at::Tensor token_log_probs_backward(const at::Tensor& hidden, const at::Tensor& weight,
                                    const at::Tensor& targets, double temperature,
                                    const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                                    const at::Tensor& grad_entropy, const at::Tensor& grad_weight,
                                    int64_t budget) {
  const int64_t tokens = hidden.size(0);
  const at::Tensor gp = grad_log_prob.contiguous();
  const at::Tensor ge = grad_entropy.defined() ? grad_entropy.contiguous() : grad_entropy;
  if (product_of(hidden, weight) == Product::tiles &&
      (!grad_weight.defined() || grad_weight.is_contiguous())) {
    return tile_log_probs_backward(hidden, weight, targets.contiguous(), temperature, forward, gp, ge,
                                   grad_weight);
  }
  const at::Tensor result = at::empty(hidden.sizes(), hidden.options());
  const int64_t step = chunk_tokens(hidden, weight.size(0), budget);
  for (int64_t begin = 0; begin < tokens; begin += step) {
    const Chunk chunk{begin, std::min(step, tokens - begin)};
    const at::Tensor input = hidden.narrow(0, begin, chunk.rows);
    const at::Tensor gradient = logit_gradient(wide_linear(input, weight), targets, temperature, chunk,
                                               forward, gp, ge, hidden.scalar_type());
    result.narrow(0, begin, chunk.rows).copy_(linear_input_gradient(gradient, weight));
    if (grad_weight.defined()) accumulate_linear_gradient(gradient, input, grad_weight);
  }
  return result;
}

}  // namespace spa::kernels
