#include "kernels/cuda/operations.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spa::kernels::cuda {
namespace {

/// The device of a tensor, and its stream, while an operation runs.
class OnDevice {
 public:
  explicit OnDevice(const at::Tensor& x)
      : guard_(x.device()), stream_(c10::cuda::getCurrentCUDAStream(x.device().index()).stream()) {}
  operator Stream() const { return stream_; }

 private:
  c10::cuda::CUDAGuard guard_;
  Stream stream_;
};

Element element_of(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 ? Element::bfloat16 : Element::float32;
}

template <typename T>
T* data_of(const at::Tensor& x) {
  return x.defined() ? static_cast<T*>(x.data_ptr()) : nullptr;
}

at::TensorOptions floats(const at::Tensor& x) { return x.options().dtype(at::kFloat); }

int64_t rows_of(const at::Tensor& x) { return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1); }

}  // namespace

void throw_launch_error(cudaError_t error, const std::source_location& place) {
  TORCH_CHECK(false, "CUDA error: ", cudaGetErrorString(error), " (kernel launched at ", place.file_name(),
              ":", place.line(), ")");
}

RmsNormResult rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const OnDevice stream(x);
  const at::Tensor source = x.contiguous(), w = weight.to(at::kFloat).contiguous();
  const RmsNormResult result{at::empty_like(source), at::empty({rows_of(x)}, floats(x))};
  rms_norm({element_of(x), rows_of(x), x.size(-1), source.data_ptr(), data_of<float>(w),
            static_cast<float>(epsilon), result.output.data_ptr(), data_of<float>(result.inverse_rms)},
           stream);
  return result;
}

at::Tensor rms_norm_backward(const at::Tensor& grad_output, const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& inverse_rms, const at::Tensor& grad_sum,
                             const at::Tensor& grad_weight) {
  const OnDevice stream(x);
  const at::Tensor grad = grad_output.contiguous(), source = x.contiguous(),
                   w = weight.to(at::kFloat).contiguous(), inverse = inverse_rms.contiguous(),
                   past = grad_sum.defined() ? grad_sum.contiguous() : grad_sum;
  const int64_t rows = rows_of(x), width = x.size(-1);
  const at::Tensor result = at::empty_like(source);
  const at::Tensor partial = at::empty({grad_weight.defined() ? rms_norm_chunks(rows) : 0, width}, floats(x));
  rms_norm_backward({element_of(x), rows, width, grad.data_ptr(), source.data_ptr(), data_of<float>(w),
                     data_of<float>(inverse), data_of<void>(past), result.data_ptr(),
                     data_of<float>(grad_weight), data_of<float>(partial)},
                    stream);
  return result;
}

void rope(const at::Tensor& x, int64_t heads, int64_t head_dim, const at::Tensor& cosine,
          const at::Tensor& sine, const at::Tensor& positions, float direction) {
  const OnDevice stream(x);
  rope({element_of(x), x.size(0), x.stride(0), heads, head_dim, x.data_ptr(), data_of<float>(cosine),
        data_of<float>(sine), data_of<int64_t>(positions), direction},
       stream);
}

at::Tensor swiglu(const at::Tensor& gate_up) {
  const OnDevice stream(gate_up);
  const at::Tensor source = gate_up.contiguous();
  const int64_t rows = source.size(0), width = source.size(1) / 2;
  const at::Tensor y = at::empty({rows, width}, source.options());
  swiglu({element_of(source), rows, width, source.data_ptr(), y.data_ptr()}, stream);
  return y;
}

at::Tensor swiglu_backward(const at::Tensor& grad, const at::Tensor& gate_up) {
  const OnDevice stream(gate_up);
  const at::Tensor source = gate_up.contiguous(), g = grad.contiguous();
  const at::Tensor result = at::empty_like(source);
  swiglu_backward({element_of(source), source.size(0), source.size(1) / 2, g.data_ptr(), source.data_ptr(),
                   result.data_ptr()},
                  stream);
  return result;
}

at::Tensor dropout(const at::Tensor& x, const at::Tensor& rows, const DropoutKey& key) {
  const OnDevice stream(x);
  const at::Tensor source = x.contiguous(), numbers = rows.contiguous();
  const at::Tensor y = at::empty_like(source);
  dropout({element_of(source), source.size(0), source.size(1), source.data_ptr(), data_of<int64_t>(numbers),
           DropoutMask(key.seed, key.stream, key.probability), y.data_ptr()},
          stream);
  return y;
}

at::Tensor decode_attention(const at::Tensor& qkv, const at::Tensor& pool, const HeadShape& shape,
                            const KvRows& rows) {
  const OnDevice stream(qkv);
  const int64_t slots = rows.starts.numel();
  const bool sent = rows.device_starts.defined();
  const at::Tensor source = qkv.contiguous(),
                   starts = sent ? rows.device_starts : rows.starts.to(qkv.device(), at::kLong),
                   tables = sent ? rows.device_tables : rows.block_tables.to(qkv.device(), at::kLong);
  const DecodeSplit split = decode_split(rows.starts.const_data_ptr<int32_t>(), slots, shape.kv_heads);
  const int64_t shares = split.splits > 1 ? slots * shape.heads * split.splits : 0;
  const at::Tensor partial = at::empty({shares, shape.head_dim + 2}, floats(qkv));
  const at::Tensor output = at::empty({slots, shape.heads * shape.head_dim}, qkv.options());
  decode_attention({element_of(qkv), shape, slots, source.data_ptr(), pool.data_ptr(), pool.stride(0),
                    data_of<int64_t>(starts), data_of<int64_t>(tables), tables.size(1), split,
                    data_of<float>(partial), output.data_ptr()},
                   stream);
  return output;
}

bool decode_attention_takes(const at::Tensor& qkv, const at::Tensor& pool, const HeadShape& shape) {
  return qkv.scalar_type() == pool.scalar_type() && decode_attention_takes(element_of(qkv), shape.head_dim);
}

void log_prob(const at::Tensor& logits, const at::Tensor& targets, double temperature, int64_t begin,
              const TokenLogProbs& result) {
  const OnDevice stream(logits);
  const auto part = [begin](const at::Tensor& x) {
    return x.defined() ? data_of<float>(x) + begin : nullptr;
  };
  log_prob({logits.size(0), logits.size(1), data_of<float>(logits), data_of<int64_t>(targets) + begin,
            static_cast<float>(1.0 / temperature), part(result.log_prob), part(result.entropy),
            part(result.log_sum_exp)},
           stream);
}

at::Tensor log_prob_backward(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                             int64_t begin, const TokenLogProbs& forward, const at::Tensor& grad_log_prob,
                             const at::Tensor& grad_entropy, at::ScalarType type) {
  const OnDevice stream(logits);
  const bool narrow = type == at::kBFloat16;
  const auto part = [begin](const at::Tensor& x) {
    return x.defined() ? data_of<float>(x) + begin : nullptr;
  };
  log_prob_backward(
      {narrow ? Element::bfloat16 : Element::float32, logits.size(0), logits.size(1), data_of<float>(logits),
       data_of<int64_t>(targets) + begin, static_cast<float>(1.0 / temperature), part(forward.log_sum_exp),
       grad_entropy.defined() ? part(forward.entropy) : nullptr, part(grad_log_prob), part(grad_entropy)},
      stream);
  return narrow ? logits.view(at::kBFloat16).narrow(1, 0, logits.size(1)) : logits;
}

SampledTokens sample(const at::Tensor& logits, const SamplingParameters& parameters,
                     const at::Tensor& streams, const at::Tensor& positions) {
  const OnDevice stream(logits);
  const at::Tensor source = logits.contiguous();
  const at::Tensor on_device_streams = streams.to(logits.device()),
                   on_device_positions = positions.to(logits.device());
  const int64_t rows = source.size(0);
  const SampledTokens result{at::empty({rows}, source.options().dtype(at::kInt)),
                             at::empty({rows}, floats(source))};
  sample({element_of(source), rows, source.size(1), source.data_ptr(),
          static_cast<float>(parameters.temperature), parameters.top_k, static_cast<float>(parameters.top_p),
          parameters.seed, data_of<int64_t>(on_device_streams), data_of<int64_t>(on_device_positions),
          data_of<int32_t>(result.tokens), data_of<float>(result.log_probs)},
         stream);
  return result;
}

void adamw(const AdamWBuffers& buffers, const AdamWParameters& parameters) {
  const OnDevice stream(buffers.parameter);
  const bool master = buffers.master.defined();
  adamw({buffers.parameter.numel(), data_of<float>(master ? buffers.master : buffers.parameter),
         data_of<float>(buffers.gradient), data_of<float>(buffers.first_moment),
         data_of<float>(buffers.second_moment), master ? buffers.parameter.data_ptr() : nullptr},
        parameters, stream);
}

}  // namespace spa::kernels::cuda
