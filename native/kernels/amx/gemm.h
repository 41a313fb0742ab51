// bfloat16 matrix products on the tile registers of AMX (Intel Sapphire Rapids and later), with float32 sums.
//
// C [m, n] = A [m, depth] B [depth, n]. A is read as it lies in memory, its rows along the depth; B is put
// into panels of 32 columns in which pairs of the depth stand side by side, as the instruction wants them. An
// element's sum runs over the depth in order, in steps of 32, whatever the sizes, splits and threads: a row's
// result depends on that row alone. All functions are serial; A's and B's depth are multiples of 32 (zeros
// fill up the panels).
#pragma once

#include <cstdint>

namespace spa::kernels::amx {

using Bf16 = uint16_t;

/// Rows of A, columns of B and steps of the depth that are worked on together.
constexpr int64_t block = 32;

constexpr int64_t blocks_of(int64_t n) { return (n + block - 1) / block; }

/// Whether this build has the kernels, this CPU the instructions, and the system lets us use them.
bool available();

/// Elements of B in panels.
constexpr int64_t panel_elements(int64_t depth, int64_t columns) {
  return blocks_of(depth) * blocks_of(columns) * block * block;
}

/// B in panels. Only some steps of its depth: begin `data` later, and keep the stride.
struct Panels {
  const Bf16* data = nullptr;
  int64_t panel_stride = 0;  // elements from one panel to the next
  int64_t columns = 0;       // the last panel may be partly filled
};

/// Fills panels [first, last) of B [depth, columns] from its transpose, rows [columns, depth] `ld` apart (the
/// layout of activations in y = W x^T).
void fill_panels_transposed(const Bf16* rows, int64_t ld, int64_t depth, int64_t columns, int64_t first,
                            int64_t last, Bf16* panels);
/// The same from B itself, rows [depth, columns] `ld` apart.
void fill_panels(const Bf16* rows, int64_t ld, int64_t depth, int64_t columns, int64_t first, int64_t last,
                 Bf16* panels);

/// target [columns, depth] (rows ld_target apart, zeros up to a multiple of 32) = the transpose of rows
/// [depth, columns]; `columns` a multiple of 16. For an A that lies the wrong way round.
void transpose(const Bf16* rows, int64_t ld, int64_t depth, int64_t columns, Bf16* target, int64_t ld_target);

/// Where products go.
struct Sums {  // c [m, n] (+)= sums
  float* c;
  int64_t ld;
  bool accumulate;
};
struct Rounded {  // c [m, n] = sums, rounded, begun with `carried` [m, n] (may be null; n a multiple of 32)
  Bf16* c;
  int64_t ld;
  const float* carried;
  int64_t ld_carried;
};
template <typename T>
struct Transposed {  // c [n, m] = sums^T + bias [m] + add [n, m]; bias and add may be null
  T* c;
  int64_t ld;
  const Bf16* bias;
  const Bf16* add;
  int64_t ld_add;
};

/// All columns of B by `m` rows of A that are `ld` apart. `steps` is the depth in blocks.
void multiply(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps, const Sums& target);
void multiply(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps, const Rounded& target);
void multiply(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps,
              const Transposed<Bf16>& target);
void multiply(const Bf16* a, int64_t ld, int64_t m, const Panels& b, int64_t steps,
              const Transposed<float>& target);

}  // namespace spa::kernels::amx
