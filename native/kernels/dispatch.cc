#include "kernels/dispatch.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "kernels/amx/gemm.h"

#if defined(SPA_AMX)
#include <sys/syscall.h>
#include <unistd.h>
#endif

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

constexpr std::pair<const char*, Isa> isa_names[] = {
    {"baseline", Isa::baseline}, {"avx2", Isa::avx2}, {"avx512", Isa::avx512}};

const Table* first_choice() {
  if (const char* wish = std::getenv("SPA_ISA")) {
    const Table* wanted = nullptr;
    for (const auto& [name, isa] : isa_names) {
      if (std::string_view(wish) == name) wanted = table_for(isa);
    }
    TORCH_CHECK(wanted, "SPA_ISA=", wish, ": this build or CPU has no such kernels");
    return wanted;
  }
  for (const Isa isa : {Isa::avx512, Isa::avx2}) {
    if (const Table* candidate = table_for(isa)) return candidate;
  }
  return &baseline::table;
}

std::atomic<const Table*>& chosen() {
  static std::atomic<const Table*> table{first_choice()};
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

namespace {

bool request_tiles() {
#if defined(SPA_AMX)
  // For comparing with libtorch's products, or numbers with a machine without tiles.
  if (const char* wish = std::getenv("SPA_AMX"); wish != nullptr && std::string_view(wish) == "0")
    return false;
  if (!__builtin_cpu_supports("amx-tile") || !__builtin_cpu_supports("amx-bf16") ||
      !__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl")) {
    return false;
  }
  // Linux hands out the tiles' state on request (Documentation/arch/x86/xstate.rst).
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

std::atomic<bool>& tiles_on() {
  static std::atomic<bool> on{request_tiles()};
  return on;
}

}  // namespace

bool use_tiles(bool on) {
  const bool before = tiles_on();
  tiles_on() = on && request_tiles();
  return before;
}

int64_t largest_panels(at::ScalarType dtype, at::Device device) {
  if (!device.is_cpu()) return 0;
  // Above that the panels leave the second-level cache and ATen's blocking wins; with bfloat16 oneDNN has
  // matrix instructions to offer.
  return dtype == at::kFloat ? int64_t{1} << 20 : dtype == at::kBFloat16 ? int64_t{1} << 16 : 0;
}

Product product_of(int64_t out_features, int64_t in_features, at::ScalarType dtype, at::Device device) {
  if (out_features * in_features <= largest_panels(dtype, device)) return Product::rows;
  const bool fits = dtype == at::kBFloat16 && device.is_cpu() && out_features % amx::block == 0 &&
                    in_features % amx::block == 0;
  return has_amx && fits && tiles_on().load(std::memory_order_relaxed) ? Product::tiles : Product::aten;
}

Product product_of(const at::Tensor& x, const at::Tensor& weight) {
  const Product product = product_of(weight.size(0), weight.size(1), x.scalar_type(), x.device());
  const bool as_it_lies = weight.scalar_type() == x.scalar_type() && weight.is_contiguous();
  return product == Product::tiles && !as_it_lies ? Product::aten : product;
}

}  // namespace spa::kernels
