#include "engine/session.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "engine/error.h"
#include "engine/memory.h"
#include "engine/parallel.h"
#include "engine/work_sizes.h"

namespace spa {
namespace {

// Steps of sampling between two meetings of the threads: long enough to hide the meeting, short enough that
// finished rows do not leave one thread idle for long.
constexpr int64_t window_steps = 16;
// New tokens that one prefill pass runs at most for one slot; for all together see inference_tokens.
constexpr int64_t prefill_tokens_per_slot = 2048;

}  // namespace

struct Session::Row {
  int64_t index = 0;  // in the request
  int32_t slot = 0;
  int64_t length = 0;  // tokens held, new ones included
  int64_t limit = 0;   // of new tokens
  uint64_t stream = 0;
  int32_t last = 0;
  std::vector<int32_t> tokens;
  std::vector<float> log_probs;
  bool finished = false;
  Finish finish = Finish::length;
};

Session::Session(std::shared_ptr<Model> model, int64_t slots, int64_t max_tokens, uint64_t seed)
    : model_(std::move(model)),
      max_tokens_(max_tokens),
      seed_(seed),
      held_(slots),
      cache_(model_->config(), slots, max_tokens, model_->dtype(), model_->device()) {}

void Session::rethrow(const std::exception_ptr& failure) const {
  if (!is_out_of_memory(failure)) std::rethrow_exception(failure);
  throw Error(
      "OUT_OF_MEMORY",
      "there is not enough memory for " + std::to_string(slots()) + " slots of " +
          std::to_string(max_tokens_) + " tokens: " + first_line_of(failure),
      "use fewer slots (engine.rolloutSlots) or shorter ones (protocol.maxTokens); spa plan says what fits");
}

void Session::require_slot(int64_t slot) const {
  require(slot >= 0 && slot < slots(), "a slot is one of the session's");
}

void Session::require_distinct(std::span<const int32_t> slots) const {
  std::vector<bool> seen(held_.size(), false);
  for (const int32_t slot : slots) {
    require_slot(slot);
    require(!seen[slot], "each slot is named once");
    seen[slot] = true;
  }
}

void Session::check_version() {
  const bool empty =
      std::all_of(held_.begin(), held_.end(), [](const SlotTokens& held) { return held.empty(); });
  if (empty) version_ = model_->version();
  if (version_ != model_->version()) {
    throw Error("STALE_CACHE", "the model's weights have changed since this session's slots were filled",
                "release all slots and extend them again");
  }
}

int64_t Session::length(int64_t slot) const {
  require_slot(slot);
  return static_cast<int64_t>(held_[slot].size());
}

void Session::extend(std::span<const int32_t> slots, const RaggedTokens& batch, const LongCall& call) {
  require_distinct(slots);
  batch.validate(model_->config().vocab);
  require(batch.rows() == static_cast<int64_t>(slots.size()), "there is a row for each slot");
  for (size_t i = 0; i < slots.size(); ++i) {
    const int64_t length = this->length(slots[i]) + batch.length(static_cast<int64_t>(i));
    if (length > max_tokens_) {
      throw Error("CAPACITY", "slot " + std::to_string(slots[i]) + " would hold " + std::to_string(length) +
                                  " tokens, the session's limit is " + std::to_string(max_tokens_));
    }
  }
  check_version();
  try {
    prefill(slots, batch, call);
  } catch (...) {
    for (const int32_t slot : slots) cache_.truncate(slot, std::max<int64_t>(length(slot) - 1, 0));
    rethrow(std::current_exception());
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    const auto row = batch.tokens.subspan(batch.offsets[i], batch.length(static_cast<int64_t>(i)));
    held_[slots[i]].insert(held_[slots[i]].end(), row.begin(), row.end());
  }
}

void Session::prefill(std::span<const int32_t> slots, const RaggedTokens& batch, const LongCall& call) {
  // What has to run for slot i: the token that the cache lags behind, then the new ones but for the last.
  std::vector<std::vector<int32_t>> work(slots.size());
  int64_t total = 0, done = 0, longest = 1;
  for (size_t i = 0; i < slots.size(); ++i) {
    const SlotTokens& held = held_[slots[i]];
    const auto row = batch.tokens.subspan(batch.offsets[i], batch.length(static_cast<int64_t>(i)));
    if (row.empty()) continue;
    if (!held.empty()) work[i].push_back(held.back());
    work[i].insert(work[i].end(), row.begin(), row.end() - 1);
    total += static_cast<int64_t>(work[i].size());
    longest = std::max(longest, static_cast<int64_t>(held.size() + row.size()));
  }
  const Decoder& decoder = model_->decoder(longest);
  const int64_t prefill_tokens = inference_tokens(model_->config(), model_->device());

  std::vector<int64_t> progress(slots.size(), 0);
  while (done < total) {
    call.check();
    std::vector<int64_t> items, counts(slots.size(), 0), starts(slots.size(), 0);
    std::vector<double> costs;
    int64_t used = 0;
    for (size_t i = 0; i < slots.size() && used < prefill_tokens; ++i) {
      const int64_t left = static_cast<int64_t>(work[i].size()) - progress[i];
      if (left == 0) continue;
      counts[i] = std::min({left, prefill_tokens_per_slot, prefill_tokens - used});
      starts[i] = cache_.length(slots[i]);
      cache_.grow(slots[i], starts[i] + counts[i]);
      used += counts[i];
      items.push_back(static_cast<int64_t>(i));
      costs.push_back(forward_cost(model_->config(), starts[i], counts[i]));
    }
    const bool side_by_side = runs_side_by_side(model_->config(), model_->device());
    const auto parts =
        side_by_side ? std::min<int64_t>(at::get_num_threads(), static_cast<int64_t>(items.size())) : 1;
    const auto dealt = deal_out(costs, parts);
    parallel_parts(parts, [&](int64_t part) {
      std::vector<int32_t> own, tokens;
      std::vector<int64_t> own_starts, own_counts;
      for (const int64_t item : dealt[part]) {
        const int64_t i = items[item];
        own.push_back(slots[i]);
        own_starts.push_back(starts[i]);
        own_counts.push_back(counts[i]);
        const auto begin = work[i].begin() + progress[i];
        tokens.insert(tokens.end(), begin, begin + counts[i]);
      }
      decoder.hidden(cached_batch(cache_, own, own_starts, own_counts, tokens, model_->device()), cache_);
    });
    for (size_t i = 0; i < slots.size(); ++i) progress[i] += counts[i];
    done += used;
    call.report(done, total);
  }
}

void Session::fork(int64_t slot, std::span<const int32_t> targets, std::optional<int64_t> length) {
  require_slot(slot);
  require_distinct(targets);
  check_version();
  const SlotTokens& held = held_[slot];
  const auto count = length.value_or(static_cast<int64_t>(held.size()));
  if (held.empty()) throw Error("BAD_ARGUMENT", "fork: slot " + std::to_string(slot) + " is empty");
  if (count < 1 || count > static_cast<int64_t>(held.size())) {
    throw Error("BAD_ARGUMENT", "fork: slot " + std::to_string(slot) + " holds " +
                                    std::to_string(held.size()) + " tokens, not " + std::to_string(count));
  }
  for (const int32_t target : targets) {
    if (!held_[target].empty()) {
      throw Error("BAD_ARGUMENT", "fork: slot " + std::to_string(target) + " is not empty",
                  "release it first");
    }
  }
  for (const int32_t target : targets) {
    cache_.fork(slot, target);
    cache_.truncate(target, count - 1);
    held_[target].assign(held.begin(), held.begin() + count);
  }
}

void Session::check_request(const GenerateRequest& request) const {
  require_distinct(request.slots);
  require(request.max_new_tokens.size() == request.slots.size(), "there is a limit for each slot");
  require(request.streams.empty() || request.streams.size() == request.slots.size(),
          "there is a stream for each slot");
  for (size_t i = 0; i < request.slots.size(); ++i) {
    const int32_t slot = request.slots[i];
    require(request.max_new_tokens[i] >= 1, "a limit is of at least one token");
    if (held_[slot].empty()) {
      throw Error("BAD_ARGUMENT", "generate: slot " + std::to_string(slot) + " is empty", "extend it first");
    }
    if (length(slot) >= max_tokens_) {
      throw Error("CAPACITY", "generate: slot " + std::to_string(slot) + " is full (" +
                                  std::to_string(max_tokens_) + " tokens)");
    }
  }
}

void Session::sample_window(std::span<Row* const> rows, int64_t steps, const GenerateRequest& request,
                            const Decoder& decoder, const LongCall& call) const {
  const auto parameters = request.sampling.parameters(seed_);
  const int64_t logits_rows = std::max<int64_t>(1, sampling_logits / model_->config().vocab);
  std::vector<Row*> active(rows.begin(), rows.end());
  for (int64_t step = 0; step < steps && !active.empty() && !call.aborted(); ++step) {
    const auto n = static_cast<int64_t>(active.size());
    std::vector<int32_t> slots, tokens;
    std::vector<int64_t> starts;
    at::Tensor streams = at::empty({n}, at::kLong), positions = at::empty({n}, at::kLong);
    for (int64_t i = 0; i < n; ++i) {
      slots.push_back(active[i]->slot);
      tokens.push_back(active[i]->last);
      starts.push_back(active[i]->length - 1);
      streams.data_ptr<int64_t>()[i] = static_cast<int64_t>(active[i]->stream);
      positions.data_ptr<int64_t>()[i] = active[i]->length;
    }
    const std::vector<int64_t> counts(active.size(), 1);
    const at::Tensor hidden =
        decoder.hidden(cached_batch(cache_, slots, starts, counts, tokens, model_->device()), cache_);
    for (int64_t begin = 0; begin < n; begin += logits_rows) {
      const int64_t count = std::min(logits_rows, n - begin);
      const auto sampled =
          kernels::sample(decoder.logits(hidden.narrow(0, begin, count)), parameters,
                          streams.narrow(0, begin, count), positions.narrow(0, begin, count));
      for (int64_t i = 0; i < count; ++i) {
        Row& row = *active[begin + i];
        row.last = sampled.tokens.data_ptr<int32_t>()[i];
        row.tokens.push_back(row.last);
        row.log_probs.push_back(sampled.log_probs.data_ptr<float>()[i]);
        ++row.length;
        const bool stop = std::find(request.stop_tokens.begin(), request.stop_tokens.end(), row.last) !=
                          request.stop_tokens.end();
        if (stop) {
          row.finish = Finish::stop;
        } else if (row.length >= max_tokens_) {
          row.finish = Finish::context;
        } else if (static_cast<int64_t>(row.tokens.size()) >= row.limit) {
          row.finish = Finish::length;
        } else {
          continue;
        }
        row.finished = true;
      }
    }
    std::erase_if(active, [](const Row* row) { return row->finished; });
  }
}

GenerateResult Session::generate(const GenerateRequest& request, const LongCall& call) {
  check_request(request);
  check_version();
  std::vector<Row> rows(request.slots.size());
  std::vector<Row*> active;
  int64_t longest = 1;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int32_t slot = request.slots[i];
    const uint64_t stream = request.streams.empty() ? static_cast<uint64_t>(slot) : request.streams[i];
    rows[i] = {static_cast<int64_t>(i),
               slot,
               length(slot),
               request.max_new_tokens[i],
               stream,
               held_[slot].back(),
               {},
               {},
               false,
               Finish::length};
    active.push_back(&rows[i]);
    longest = std::max(longest, std::min(max_tokens_, rows[i].length + rows[i].limit));
  }
  const auto restore = [&] {
    for (const int32_t slot : request.slots) cache_.truncate(slot, length(slot) - 1);
  };
  try {
    const Decoder& decoder = model_->decoder(longest);
    while (!active.empty()) {
      call.check();
      std::vector<double> costs;
      for (const Row* row : active) {
        const int64_t steps = std::min(
            {window_steps, row->limit - static_cast<int64_t>(row->tokens.size()), max_tokens_ - row->length});
        cache_.grow(row->slot, row->length - 1 + steps);
        costs.push_back(forward_cost(model_->config(), row->length, steps));
      }
      const bool side_by_side = runs_side_by_side(model_->config(), model_->device());
      const auto parts =
          side_by_side ? std::min<int64_t>(at::get_num_threads(), static_cast<int64_t>(active.size())) : 1;
      const auto dealt = deal_out(costs, parts);
      parallel_parts(parts, [&](int64_t part) {
        std::vector<Row*> own;
        for (const int64_t item : dealt[part]) own.push_back(active[item]);
        for (size_t begin = 0; begin < own.size(); begin += sampling_rows) {
          const std::span<Row* const> group =
              std::span(own).subspan(begin, std::min(sampling_rows, own.size() - begin));
          sample_window(group, window_steps, request, decoder, call);
        }
      });
      std::erase_if(active, [](const Row* row) { return row->finished; });
      call.report(static_cast<int64_t>(rows.size() - active.size()), static_cast<int64_t>(rows.size()));
    }
  } catch (...) {
    restore();
    rethrow(std::current_exception());
  }

  GenerateResult result;
  result.offsets.push_back(0);
  for (const Row& row : rows) {
    held_[row.slot].insert(held_[row.slot].end(), row.tokens.begin(), row.tokens.end());
    cache_.truncate(row.slot, row.length - 1);
    result.tokens.insert(result.tokens.end(), row.tokens.begin(), row.tokens.end());
    result.log_probs.insert(result.log_probs.end(), row.log_probs.begin(), row.log_probs.end());
    result.offsets.push_back(static_cast<uint32_t>(result.tokens.size()));
    result.finish.push_back(row.finish);
  }
  return result;
}

void Session::release(std::span<const int32_t> slots) {
  for (const int32_t slot : slots) require_slot(slot);
  for (const int32_t slot : slots) {
    cache_.truncate(slot, 0);
    held_[slot].clear();
  }
  cache_.release_pool();
}

void Session::release_all() {
  for (int64_t slot = 0; slot < slots(); ++slot) {
    cache_.truncate(slot, 0);
    held_[slot].clear();
  }
  cache_.release_pool();
}

}  // namespace spa
