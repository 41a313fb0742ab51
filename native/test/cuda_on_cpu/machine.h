// The machine that runs kernels: blocks one after the other, the threads of a block as fibers, in an order
// that a seed decides. include/ has what kernels see of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>

#include "cuda_types.h"

namespace cuda_on_cpu {

constexpr unsigned warp_lanes = 32;

/// Runs `body(context)` in every thread of every block, by the schedule (schedule.h). False: the kernel did
/// what CUDA leaves undefined, and fault_text() says what; what it wrote until then stays.
bool run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(const void*), const void* context);

/// What the last launch did wrong.
const char* fault_text();

// --- what running threads ask for

unsigned lane_number();
void* dynamic_shared_memory();

/// Combines the values of all threads at a barrier of the block.
enum class BarrierValue { none, count, all, any };
int wait_for_block(BarrierValue kind, int value, const std::source_location& place);

/// What a lane hands in where a warp works together; `complete` is called once for all lanes of `mask` (null
/// elsewhere) when the last of them has come, and fills in their results.
using Complete = void (*)(void* const (&requests)[warp_lanes], uint32_t mask);
void wait_for_warp(uint32_t mask, Complete complete, void* request, const std::source_location& place);
/// A barrier among the lanes of a mask.
void wait_for_lanes(uint32_t mask, const std::source_location& place);

/// Another thread may go on here.
void let_others_run();

/// Ends the launch with a fault at a place.
[[noreturn]] void fault(const char* what, const std::source_location& place);

/// Copies 16 bytes to shared memory at some time until its group has been waited for: as late as that.
void copy_later(void* target, const void* source, size_t bytes);
void close_copy_group();
/// Lets all but the newest `open_groups` groups of this thread land.
void wait_for_copies(int open_groups);

}  // namespace cuda_on_cpu
