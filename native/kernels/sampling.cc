#include "kernels/sampling.h"

#include "kernels/cuda/operations.h"
#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {

SampledTokens sample(const at::Tensor& logits, const SamplingParameters& parameters,
                     const at::Tensor& streams, const at::Tensor& positions) {
  if constexpr (has_cuda) {
    if (path_of(logits) == Path::cuda) {
      const SampledTokens sampled = cuda::sample(logits, parameters, streams, positions);
      return {sampled.tokens.cpu(), sampled.log_probs.cpu()};
    }
  }
  const at::Tensor rows = dense_float(logits.is_cpu() ? logits : logits.cpu());
  const int64_t vocab = rows.size(1);
  const SampledTokens result{at::empty({rows.size(0)}, at::kInt), empty_float({rows.size(0)})};
  const cpu::SamplingScalars scalars{static_cast<float>(parameters.temperature), parameters.top_k,
                                     static_cast<float>(parameters.top_p), parameters.seed};
  const auto* stream = reinterpret_cast<const uint64_t*>(streams.const_data_ptr<int64_t>());
  parallel_rows(rows.size(0), vocab * 8, [&](int64_t begin, int64_t end) {
    cpu::table().sample(rows.const_data_ptr<float>() + begin * vocab, vocab, scalars, stream + begin,
                        positions.const_data_ptr<int64_t>() + begin,
                        result.tokens.mutable_data_ptr<int32_t>() + begin,
                        result.log_probs.mutable_data_ptr<float>() + begin, end - begin, vocab);
  });
  return result;
}

}  // namespace spa::kernels
