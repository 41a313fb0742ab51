// Memory that row kernels use for the length of a call.
#pragma once

#include <cstdint>

namespace spa::kernels::cpu {

/// What a buffer is for; a kernel may hold several kinds at once.
enum class Scratch { scores, gradients, queries, output_gradients, lanes, values, keys, count };

/// Floats that a buffer of at least so many is made with, so that it seldom has to grow.
constexpr int64_t with_spare(int64_t floats) { return floats * 5 / 4; }

/// At least `floats` floats, 64-byte aligned, of this thread and kind; contents are left over from earlier
/// calls. Kept until the thread ends and grown when needed.
float* scratch(Scratch kind, int64_t floats);

}  // namespace spa::kernels::cpu
