// How decode attention is spread over a GPU: blocks of threads take some blocks of a slot's cache each. The
// same on every card, so that sums are added in one order everywhere.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/table.h"

namespace spa::kernels {

struct DecodeSplit {
  int64_t chunk;   // cache blocks that a block of threads takes
  int64_t splits;  // chunks of the longest slot
};

/// Blocks of threads that fill a card of up to 160 multiprocessors, four on each.
constexpr int64_t decode_blocks = 640;

/// slots * splits is at most this: what shares of the output take is bounded, however uneven the slots are.
inline int64_t most_decode_chunks(int64_t slots, int64_t kv_heads) {
  return slots + 2 * decode_blocks / kv_heads;
}

/// starts [slots]: tokens that the slots hold already.
inline DecodeSplit decode_split(const int32_t* starts, int64_t slots, int64_t kv_heads) {
  const auto rounded_up = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  constexpr int64_t least_chunk = 8;  // shorter ones would spend their time on starting
  int64_t total = 0, longest = 1;
  for (int64_t i = 0; i < slots; ++i) {
    const int64_t blocks = starts[i] / cpu::kv_block_tokens + 1;
    total += blocks;
    longest = std::max(longest, blocks);
  }
  const int64_t most_splits = most_decode_chunks(slots, kv_heads) / std::max<int64_t>(slots, 1);
  const int64_t chunk = std::max({rounded_up(total * kv_heads, decode_blocks),
                                  rounded_up(longest, std::max<int64_t>(most_splits, 1)), least_chunk});
  return {chunk, rounded_up(longest, chunk)};
}

}  // namespace spa::kernels
