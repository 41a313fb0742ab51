#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cuda/operations.h"
#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

constexpr int64_t block_elements = 16384;

/// A run of elements of one of several tensors.
struct Block {
  size_t tensor;
  int64_t begin, size;
};

template <typename SizeOf>
std::vector<Block> blocks_of(size_t tensors, const SizeOf& size_of) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < tensors; ++i) {
    const int64_t size = size_of(i);
    for (int64_t begin = 0; begin < size; begin += block_elements) {
      blocks.push_back({i, begin, std::min(block_elements, size - begin)});
    }
  }
  return blocks;
}

void aten_adamw(const AdamWBuffers& b, const AdamWParameters& p) {
  const auto step = static_cast<double>(p.step);
  const at::Tensor target = b.master.defined() ? b.master : b.parameter;
  const at::Tensor g = b.gradient * p.gradient_scale;
  b.first_moment.mul_(p.beta1).add_(g, 1.0 - p.beta1);
  b.second_moment.mul_(p.beta2).addcmul_(g, g, 1.0 - p.beta2);
  const at::Tensor denominator =
      (b.second_moment.sqrt() / std::sqrt(1.0 - std::pow(p.beta2, step))).add_(p.epsilon);
  target.mul_(1.0 - p.learning_rate * p.weight_decay);
  target.addcdiv_(b.first_moment, denominator, -p.learning_rate / (1.0 - std::pow(p.beta1, step)));
  if (b.master.defined()) b.parameter.copy_(b.master);
}

}  // namespace

cpu::AdamWScalars adamw_scalars(const AdamWParameters& p) {
  const auto step = static_cast<double>(p.step);
  return {static_cast<float>(p.learning_rate),
          static_cast<float>(p.beta1),
          static_cast<float>(p.beta2),
          static_cast<float>(p.epsilon),
          static_cast<float>(p.weight_decay),
          static_cast<float>(1.0 - std::pow(p.beta1, step)),
          static_cast<float>(1.0 - std::pow(p.beta2, step)),
          static_cast<float>(p.gradient_scale)};
}

void adamw_(const std::vector<AdamWBuffers>& buffers, const AdamWParameters& parameters) {
  if (buffers.empty()) return;
  const Path path = path_of(buffers.front().parameter);
  if (path != Path::cpu) {
    for (const AdamWBuffers& b : buffers) {
      if constexpr (has_cuda) {
        if (path == Path::cuda) {
          cuda::adamw(b, parameters);
          continue;
        }
      }
      aten_adamw(b, parameters);
    }
    return;
  }
  const std::vector<Block> blocks =
      blocks_of(buffers.size(), [&](size_t i) { return buffers[i].parameter.numel(); });
  const cpu::AdamWScalars scalars = adamw_scalars(parameters);
  parallel_rows(static_cast<int64_t>(blocks.size()), block_elements * 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Block& block = blocks[i];
      const AdamWBuffers& b = buffers[block.tensor];
      const at::Tensor& target = b.master.defined() ? b.master : b.parameter;
      auto* rounded =
          b.master.defined() ? static_cast<cpu::Bf16*>(b.parameter.data_ptr()) + block.begin : nullptr;
      cpu::table().adamw(
          target.mutable_data_ptr<float>() + block.begin, b.gradient.const_data_ptr<float>() + block.begin,
          b.first_moment.mutable_data_ptr<float>() + block.begin,
          b.second_moment.mutable_data_ptr<float>() + block.begin, rounded, scalars, block.size);
    }
  });
}

double squared_norm(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> dense, norms;
  for (const at::Tensor& tensor : tensors) {
    if (path_of(tensor) == Path::cpu) {
      dense.push_back(dense_float(tensor));
    } else {
      // Without a copy of the gradient in another type.
      const at::ScalarType type = wide_type(tensor);
      norms.push_back(at::linalg_vector_norm(tensor, 2, at::OptionalIntArrayRef(), false, type));
    }
  }
  double total = norms.empty() ? 0 : at::stack(norms).to(at::kDouble).square().sum().item<double>();
  const std::vector<Block> blocks = blocks_of(dense.size(), [&](size_t i) { return dense[i].numel(); });
  std::vector<double> partial(blocks.size());
  parallel_rows(static_cast<int64_t>(blocks.size()), block_elements * 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      partial[i] = cpu::table().squared_norm(
          dense[blocks[i].tensor].const_data_ptr<float>() + blocks[i].begin, blocks[i].size);
    }
  });
  for (const double p : partial) total += p;
  return total;
}

}  // namespace spa::kernels
