// What a kernel is held to: the same bits under every schedule, and every barrier missed when it is gone.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "device_memory.h"
#include "numbers.h"

namespace cuda_on_cpu {

/// A launch that the runtime refused or that went wrong.
class LaunchError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Makes its buffers, launches, and returns what was written.
using Run = std::function<std::vector<Numbers>()>;

/// Whether the outputs of `run` are the same in all schedules and with all poisons: whether they hang neither
/// on an order that no barrier gives nor on memory that nobody wrote. A kernel's faults are thrown.
bool is_determined(const Run& run);

/// The outputs of `run`, after a CHECK that they are determined.
std::vector<Numbers> prove(const Run& run);

/// CHECKs of each barrier in `file` (of kernels/cuda) that one of `runs` comes to that without it some
/// schedule gives other outputs or a fault.
void prove_barriers(const std::string& file, const std::vector<Run>& runs);

}  // namespace cuda_on_cpu
