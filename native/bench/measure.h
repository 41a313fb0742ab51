// What the engine's benchmarks share: a clock, a line per measurement, rows to train on.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <vector>

#include "kernels/philox.h"

namespace spa::test {

inline double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

inline double wall_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline const char* wanted = "";  // only measurements whose name holds this

/// Best of `repeats` after one to warm up, by the clock and (for a busy machine) by processor time.
template <typename F>
void report(const char* name, double tokens, int repeats, const F& f) {
  if (std::strstr(name, wanted) == nullptr) return;
  f();
  double wall = 1e30, cpu = 1e30;
  for (int i = 0; i < repeats; ++i) {
    const double wall_start = wall_seconds(), cpu_start = cpu_seconds();
    f();
    wall = std::min(wall, wall_seconds() - wall_start);
    cpu = std::min(cpu, cpu_seconds() - cpu_start);
  }
  std::printf("%-28s %10.1f tokens/s, %10.1f tokens per processor second\n", name, tokens / wall,
              tokens / cpu);
  std::fflush(stdout);
}

/// Rows of random tokens, lengths spread evenly from shortest to longest.
struct Rows {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> offsets = {0};
  std::vector<uint8_t> mask;

  /// `trained(k)` says whether the k-th token of a row is trained on.
  template <typename Trained>
  Rows(int rows, int shortest, int longest, int64_t vocab, const Trained& trained) {
    for (int row = 0; row < rows; ++row) {
      const int length = shortest + (longest - shortest) * row / std::max(1, rows - 1);
      for (int k = 0; k < length; ++k) {
        tokens.push_back(
            static_cast<int32_t>(static_cast<double>(vocab) * kernels::philox_uniform(1, row, k)));
        mask.push_back(trained(k));
      }
      offsets.push_back(static_cast<uint32_t>(tokens.size()));
    }
  }
};

}  // namespace spa::test
