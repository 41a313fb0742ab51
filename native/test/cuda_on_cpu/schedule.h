// In which order the machine runs threads, and what it leaves out: the side that tests see.
#pragma once

#include <cstdint>
#include <optional>
#include <source_location>
#include <string>
#include <vector>

namespace cuda_on_cpu {

/// A place in a kernel's source.
struct Site {
  std::string file;  // its name alone
  unsigned line = 0;

  explicit Site(const std::source_location& place);
  Site(std::string file_name, unsigned line_number) : file(std::move(file_name)), line(line_number) {}
  auto operator<=>(const Site&) const = default;
  std::string text() const { return file + ":" + std::to_string(line); }
};

/// How a launch is run. Every choice of a schedule comes from its seed.
struct Schedule {
  /// 0: blocks, warps and lanes in their order. Else blocks in a shuffled order and, in a block, a random
  /// lane of the warp that is ahead: warps have random ranks, which change now and then, so that some of them
  /// run on to the end while others stand still.
  uint64_t seed = 0;
  /// What shared memory and buffers hold before anybody writes. 0xff bytes are NaN, the others large numbers.
  unsigned char poison = 0xff;
  /// A barrier that is left out.
  std::optional<Site> without = {};
};

void use(const Schedule& schedule);
const Schedule& schedule();

/// Barriers (of blocks and of warps) that kernels have come to since the last call, by place.
std::vector<Site> take_barriers();

}  // namespace cuda_on_cpu
