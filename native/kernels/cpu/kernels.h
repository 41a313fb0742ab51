// The row kernels of one instruction set; table.h documents them. table.cc gathers them.
#pragma once

#include "kernels/cpu/table.h"
#include "kernels/cpu/vector.h"

namespace spa::kernels::cpu::SPA_ISA_NAMESPACE {

void pack_weight(const float* w, int64_t ldw, int64_t columns, int64_t depth, float* packed);
void pack_matrix(const float* b, int64_t ldb, int64_t depth, int64_t columns, float* packed);
void linear(const float* x, int64_t ldx, const PackedMatrix& b, const float* bias, const float* add,
            int64_t ld_add, float* y, int64_t ldy, int64_t rows);
void add_rows(const float* x, int64_t ldx, int64_t rows, int64_t columns, float* sum);

void rms_norm(const float* x, int64_t ldx, const float* residual, int64_t ld_residual, float* sum,
              int64_t ld_sum, const float* weight, float epsilon, float* y, int64_t ldy, float* inverse_rms,
              int64_t rows, int64_t width);
void rms_norm_backward(const float* grad_y, int64_t ld_grad_y, const float* x, int64_t ldx,
                       const float* weight, const float* inverse_rms, const float* grad_sum,
                       int64_t ld_grad_sum, float* grad_x, int64_t ld_grad_x, float* grad_weight,
                       int64_t rows, int64_t width);
void rope(float* x, int64_t ldx, int64_t heads, int64_t head_dim, const float* cosine, const float* sine,
          const int64_t* positions, float direction, int64_t rows);
void swiglu(const float* gate_up, int64_t ld_gate_up, float* y, int64_t ldy, int64_t rows, int64_t width);
void swiglu_backward(const float* grad_y, int64_t ld_grad_y, const float* gate_up, int64_t ld_gate_up,
                     float* grad_gate_up, int64_t ld_grad, float* y, int64_t ldy, int64_t rows,
                     int64_t width);

void rms_norm_bf16(const Bf16* x, int64_t ldx, const float* weight, float epsilon, Bf16* y, int64_t ldy,
                   float* inverse_rms, int64_t rows, int64_t width);
void rms_norm_backward_bf16(const Bf16* grad_y, int64_t ld_grad_y, const Bf16* x, int64_t ldx,
                            const float* weight, const float* inverse_rms, const Bf16* grad_sum,
                            int64_t ld_grad_sum, Bf16* grad_x, int64_t ld_grad_x, float* grad_weight,
                            int64_t rows, int64_t width);
void rope_bf16(Bf16* x, int64_t ldx, int64_t heads, int64_t head_dim, const float* cosine, const float* sine,
               const int64_t* positions, float direction, int64_t rows);
void swiglu_bf16(const Bf16* gate_up, int64_t ld_gate_up, Bf16* y, int64_t ldy, int64_t rows, int64_t width);
void swiglu_backward_bf16(const Bf16* grad_y, int64_t ld_grad_y, const Bf16* gate_up, int64_t ld_gate_up,
                          Bf16* grad_gate_up, int64_t ld_grad, Bf16* y, int64_t ldy, int64_t rows,
                          int64_t width);

void attention(const float* q, const float* k, const float* v, int64_t ld, int64_t length,
               const HeadShape& shape, int64_t kv_head, float* out, int64_t ld_out, float* log_sum_exp,
               int64_t ld_lse);
void attention_backward(const float* grad_out, const float* out, int64_t ld_out, const float* q,
                        const float* k, const float* v, int64_t ld, const float* log_sum_exp, int64_t ld_lse,
                        int64_t length, const HeadShape& shape, int64_t kv_head, float* grad_q, float* grad_k,
                        float* grad_v, int64_t ld_grad);
void kv_append(const KvView& cache, const int32_t* block_table, int64_t first, const float* k, const float* v,
               int64_t ld, const HeadShape& shape, int64_t rows);
void attend_cached(const float* q, int64_t ldq, const KvView& cache, const int32_t* block_table,
                   int64_t first, const HeadShape& shape, float* out, int64_t ld_out, int64_t rows);

void log_prob(float* logits, int64_t ld, const int64_t* target, float inverse_temperature, float* log_prob,
              float* entropy, float* log_sum_exp, int64_t rows, int64_t vocab);
void log_prob_backward(float* logits, int64_t ld, const int64_t* target, float inverse_temperature,
                       const float* log_sum_exp, const float* entropy, const float* grad_log_prob,
                       const float* grad_entropy, int64_t rows, int64_t vocab);
void sample(const float* logits, int64_t ld, const SamplingScalars& options, const uint64_t* streams,
            const int64_t* positions, int32_t* token, float* log_prob, int64_t rows, int64_t vocab);

void dropout(const float* x, int64_t ldx, const int64_t* numbers, const DropoutMask& mask, float* y,
             int64_t ldy, int64_t rows, int64_t width);

void adamw(float* parameter, const float* gradient, float* first_moment, float* second_moment,
           Bf16* parameter_bf16, const AdamWScalars& scalars, int64_t n);
double squared_norm(const float* x, int64_t n);
void add(const float* x, float* y, int64_t n);
void scale(float* x, float factor, int64_t n);
void to_float(const Bf16* x, float* y, int64_t n);
void to_bf16(const float* x, Bf16* y, int64_t n);

}  // namespace spa::kernels::cpu::SPA_ISA_NAMESPACE
