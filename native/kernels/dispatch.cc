#include "kernels/dispatch.h"

#include <atomic>

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

const Table* fastest() {
  for (const Isa isa : {Isa::avx512, Isa::avx2}) {
    if (const Table* candidate = table_for(isa)) return candidate;
  }
  return &baseline::table;
}

std::atomic<const Table*>& chosen() {
  static std::atomic<const Table*> table{fastest()};
  return table;
}

}  // namespace

const Table& table() { return *chosen().load(std::memory_order_relaxed); }

bool use(Isa isa) {
  const Table* wanted = table_for(isa);
  if (!wanted) return false;
  chosen() = wanted;
  return true;
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
