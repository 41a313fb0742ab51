// The row kernels of one instruction set, with the signatures of table.h, which documents them. table.cc
// gathers them.
#pragma once

#include <type_traits>

#include "kernels/cpu/table.h"
#include "kernels/cpu/vector.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {

template <typename Pointer>
using Kernel = std::remove_pointer_t<Pointer>;

Kernel<decltype(Table::fill_panels)> fill_panels;
Kernel<decltype(Table::linear)> linear;
Kernel<decltype(Table::gemm)> gemm;
Kernel<decltype(Table::add_rows)> add_rows;
Kernel<decltype(Table::rms_norm)> rms_norm;
Kernel<decltype(Table::rms_norm_backward)> rms_norm_backward;
Kernel<decltype(Table::rope)> rope;
Kernel<decltype(Table::swiglu)> swiglu;
Kernel<decltype(Table::swiglu_backward)> swiglu_backward;
Kernel<decltype(Table::rms_norm_bf16)> rms_norm_bf16;
Kernel<decltype(Table::rms_norm_backward_bf16)> rms_norm_backward_bf16;
Kernel<decltype(Table::rope_bf16)> rope_bf16;
Kernel<decltype(Table::swiglu_bf16)> swiglu_bf16;
Kernel<decltype(Table::swiglu_backward_bf16)> swiglu_backward_bf16;
Kernel<decltype(Table::attention)> attention;
Kernel<decltype(Table::attention_backward)> attention_backward;
Kernel<decltype(Table::kv_append)> kv_append;
Kernel<decltype(Table::attend_cached)> attend_cached;
Kernel<decltype(Table::log_prob)> log_prob;
Kernel<decltype(Table::log_prob_backward)> log_prob_backward;
Kernel<decltype(Table::sample)> sample;
Kernel<decltype(Table::dropout)> dropout;
Kernel<decltype(Table::adamw)> adamw;
Kernel<decltype(Table::squared_norm)> squared_norm;
Kernel<decltype(Table::add)> add;
Kernel<decltype(Table::scale)> scale;
Kernel<decltype(Table::to_float)> to_float;
Kernel<decltype(Table::to_bf16)> to_bf16;

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
