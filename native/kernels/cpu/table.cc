#include "kernels/cpu/table.h"

#include "kernels/cpu/kernels.h"

#define SPA_NAME_OF(isa) #isa
#define SPA_NAME(isa) SPA_NAME_OF(isa)

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {

extern const Table table;
const Table table = {
    .name = SPA_NAME(SPA_ISA_NAMESPACE),
    .fill_panels = fill_panels,
    .linear = linear,
    .gemm = gemm,
    .add_rows = add_rows,
    .rms_norm = rms_norm,
    .rms_norm_backward = rms_norm_backward,
    .rope = rope,
    .swiglu = swiglu,
    .swiglu_backward = swiglu_backward,
    .rms_norm_bf16 = rms_norm_bf16,
    .rms_norm_backward_bf16 = rms_norm_backward_bf16,
    .rope_bf16 = rope_bf16,
    .swiglu_bf16 = swiglu_bf16,
    .swiglu_backward_bf16 = swiglu_backward_bf16,
    .attention = attention,
    .attention_backward = attention_backward,
    .kv_append = kv_append,
    .attend_cached = attend_cached,
    .log_prob = log_prob,
    .log_prob_backward = log_prob_backward,
    .sample = sample,
    .dropout = dropout,
    .adamw = adamw,
    .squared_norm = squared_norm,
    .add = add,
    .scale = scale,
    .to_float = to_float,
    .to_bf16 = to_bf16,
};

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
