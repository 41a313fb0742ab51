// KV slots that live as long as an episode: append tokens, fork shared prompts, sample.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/long_call.h"
#include "engine/model.h"
#include "engine/packing.h"
#include "engine/sampler.h"

namespace spa {

enum class Finish : uint8_t { stop, length, context };

struct GenerateRequest {
  std::vector<int32_t> slots;           // distinct, none empty
  std::vector<int32_t> max_new_tokens;  // one per slot, >= 1
  std::vector<uint64_t> streams;        // one per slot: trajectory ids; empty: the slot numbers
  std::vector<int32_t> stop_tokens;
  SamplingOptions sampling;
};

/// Row i belongs to request.slots[i]: tokens[offsets[i] .. offsets[i + 1]), the stop token included.
struct GenerateResult {
  std::vector<int32_t> tokens;
  std::vector<float> log_probs;
  std::vector<uint32_t> offsets;
  std::vector<Finish> finish;
};

/// Not thread-safe: calls belong to the engine's thread. extend(), fork() and generate() throw STALE_CACHE
/// when the model's weights have changed since the slots were filled, until all slots have been released.
class Session {
 public:
  /// `slots` >= 1, `max_tokens` per slot >= 1 and at most the model's max_positions.
  Session(std::shared_ptr<Model> model, int64_t slots, int64_t max_tokens, uint64_t seed);

  int64_t slots() const { return static_cast<int64_t>(held_.size()); }
  int64_t max_tokens() const { return max_tokens_; }
  /// Tokens held by a slot.
  int64_t length(int64_t slot) const;

  /// Appends row i to slots[i] (distinct). Throws CAPACITY when a slot would pass max_tokens, ABORTED; after
  /// an error all slots are as they were.
  void extend(std::span<const int32_t> slots, const RaggedTokens& batch, const LongCall& call = {});

  /// Makes empty slots copies of `slot`, or of its first `length` tokens (else BAD_ARGUMENT); blocks of its
  /// cache are shared, and copied where one of them writes.
  void fork(int64_t slot, std::span<const int32_t> targets, std::optional<int64_t> length = {});

  /// Samples until a stop token, the row's length limit or max_tokens. Afterwards each slot holds its new
  /// tokens. Throws BAD_ARGUMENT for an empty slot, CAPACITY for a full one; after an error or abort all
  /// slots are as they were. Progress counts finished rows.
  GenerateResult generate(const GenerateRequest& request, const LongCall& call = {});

  /// Empties slots; their blocks return to the pool.
  void release(std::span<const int32_t> slots);
  void release_all();

 private:
  /// The tokens that a slot holds. The cache lags one behind: the last one is run with the next extend or
  /// generate, which needs its logits.
  using SlotTokens = std::vector<int32_t>;
  struct Row;  // a slot while it is being sampled

  /// Throws a failure on; when memory ran out, with what to lower.
  [[noreturn]] void rethrow(const std::exception_ptr& failure) const;
  void require_slot(int64_t slot) const;
  void require_distinct(std::span<const int32_t> slots) const;
  void check_version();
  void check_request(const GenerateRequest& request) const;
  void prefill(std::span<const int32_t> slots, const RaggedTokens& batch, const LongCall& call);
  void sample_window(std::span<Row* const> rows, int64_t steps, const GenerateRequest& request,
                     const Decoder& decoder, const LongCall& call) const;

  std::shared_ptr<Model> model_;
  int64_t max_tokens_;
  uint64_t seed_;
  uint64_t version_ = 0;  // weight version of the cache's contents
  std::vector<SlotTokens> held_;
  KvCache cache_;
};

}  // namespace spa
