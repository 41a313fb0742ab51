#include "kernels/rope.h"

#include "kernels/cuda/operations.h"
#include "kernels/dispatch.h"
#include "kernels/float_tensor.h"
#include "kernels/parallel.h"

namespace spa::kernels {
namespace {

void aten_rotate(const at::Tensor& x, int64_t heads, int64_t head_dim, const RopeTables& tables,
                 const at::Tensor& positions, double direction) {
  const int64_t half = head_dim / 2;
  const at::Tensor view = x.narrow(1, 0, heads * head_dim).view({x.size(0), heads, head_dim});
  const at::ScalarType type = wide_type(x);
  const at::Tensor c = tables.cosine.index_select(0, positions).unsqueeze(1).to(type);
  const at::Tensor s = tables.sine.index_select(0, positions).unsqueeze(1).to(type) * direction;
  const at::Tensor low = view.narrow(2, 0, half).to(type), high = view.narrow(2, half, half).to(type);
  view.copy_(at::cat({low * c - high * s, high * c + low * s}, 2));
}

void rotate(const at::Tensor& x, int64_t heads, int64_t head_dim, const RopeTables& tables,
            const at::Tensor& positions, float direction) {
  const Path path = path_of(x);
  if constexpr (has_cuda) {
    if (path == Path::cuda)
      return cuda::rope(x, heads, head_dim, tables.cosine, tables.sine, positions, direction);
  }
  if (path == Path::aten) return aten_rotate(x, heads, head_dim, tables, positions, direction);
  const float* cosine = tables.cosine.const_data_ptr<float>();
  const float* sine = tables.sine.const_data_ptr<float>();
  const int64_t* at = positions.const_data_ptr<int64_t>();
  const int64_t ld = x.stride(0);
  parallel_rows(x.size(0), heads * head_dim * 2, [&](int64_t begin, int64_t end) {
    if (x.scalar_type() == at::kBFloat16) {
      cpu::table().rope_bf16(mutable_bf16_data(x) + begin * ld, ld, heads, head_dim, cosine, sine, at + begin,
                             direction, end - begin);
    } else {
      cpu::table().rope(x.mutable_data_ptr<float>() + begin * ld, ld, heads, head_dim, cosine, sine,
                        at + begin, direction, end - begin);
    }
  });
}

}  // namespace

RopeTables rope_tables(const at::Tensor& inverse_frequency, int64_t max_positions, at::Device device) {
  const at::Tensor positions = at::arange(max_positions, at::TensorOptions().dtype(at::kDouble));
  const at::Tensor angles = at::outer(positions, inverse_frequency.to(at::kDouble));
  return {angles.cos().to(at::kFloat).to(device), angles.sin().to(at::kFloat).to(device)};
}

void rope_(const at::Tensor& x, int64_t heads, int64_t head_dim, const RopeTables& tables,
           const at::Tensor& positions) {
  rotate(x, heads, head_dim, tables, positions, 1.0f);
}

void rope_backward_(const at::Tensor& x, int64_t heads, int64_t head_dim, const RopeTables& tables,
                    const at::Tensor& positions) {
  rotate(x, heads, head_dim, tables, positions, -1.0f);
}

}  // namespace spa::kernels
