// What the engine's passes take of a device's memory, as formulas: weights and what training adds to them,
// and tokens on their way.
//
// They follow decoder.cc, train_pass.cc, trainer.cc, session.cc and kv_cache.cc and share their constants.
// Who changes what a pass keeps, or what a kernel needs while it runs, changes the formula here;
// test/memory/prediction.test.ts holds them against the allocator.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/adapter.h"
#include "engine/model_config.h"
#include "engine/optimizer.h"

namespace spa {

/// How a model is run; what decides its memory beside its shape.
struct PassSettings {
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  int64_t threads = 1;
  int64_t micro_batch_tokens = 0;
  bool activation_checkpointing = false;
  MomentFormat moments = MomentFormat::float32;
  std::optional<AdapterConfig> adapter;
};

/// What is done, one after the other, while the same models are in memory.
struct Workload {
  int64_t models = 1;       // with weights at the same time; those with adapters share one backbone
  int64_t trained = 0;      // of them, one after the other in each update
  int64_t row = 0;          // the longest row, in tokens
  int64_t update_rows = 0;  // of an update; 0: nothing is trained
  int64_t scored_rows = 0;  // together; 0: nothing is scored
  int64_t slots = 0;        // that are sampled at the same time; 0: nothing is
};

enum class PassKind : uint8_t { sampling, scoring, update };

/// In bytes, at the pass's peak.
struct PassMemory {
  PassKind kind = PassKind::scoring;
  int64_t tokens = 0;  // that are on their way at the same time, at most; not bytes
  int64_t weights = 0;
  int64_t master = 0;  // float32 copies of bfloat16 weights that are trained
  double moments = 0;  // of 8 bits: with a part of a scale for each weight
  int64_t gradients = 0;
  int64_t cache = 0;        // keys and values of all slots
  int64_t activations = 0;  // kept for the backward pass, and what kernels need while they run
  int64_t logits = 0;       // chunks of them and what is made of them
};

/// The passes of a workload, each kind at its largest. Every row counts as `row` tokens. On several threads
/// an upper bound: they seldom peak together.
std::vector<PassMemory> pass_memory(const ModelConfig& config, const PassSettings& settings,
                                    const Workload& work);

}  // namespace spa
