#include "kernels/dispatch.h"

namespace spa::kernels {

namespace cpu {

namespace baseline {
extern const Table table;
}
#if defined(SPA_X86_KERNELS)
namespace avx2 {
extern const Table table;
}
namespace avx512 {
extern const Table table;
}
#endif

const Table* table_for(Isa isa) {
  if (isa == Isa::baseline) return &baseline::table;
#if defined(SPA_X86_KERNELS)
  if (isa == Isa::avx2 && __builtin_cpu_supports("x86-64-v3")) return &avx2::table;
  if (isa == Isa::avx512 && __builtin_cpu_supports("x86-64-v4")) return &avx512::table;
#endif
  return nullptr;
}

namespace {

const Table& fastest() {
  for (const Isa isa : {Isa::avx512, Isa::avx2}) {
    if (const Table* candidate = table_for(isa)) return *candidate;
  }
  return baseline::table;
}

}  // namespace

const Table& table() {
  static const Table& chosen = fastest();
  return chosen;
}

}  // namespace cpu

Path path_of(const at::Tensor& tensor) {
  const bool narrow = tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16;
  if (!narrow) return Path::aten;
  if (tensor.is_cpu()) return Path::cpu;
  if (has_cuda && tensor.is_cuda()) return Path::cuda;
  return Path::aten;
}

}  // namespace spa::kernels
