// Types of CUDA's that machine and kernels share.
#pragma once

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;

  constexpr dim3(unsigned x_size = 1, unsigned y_size = 1, unsigned z_size = 1)
      : x(x_size), y(y_size), z(z_size) {}
};

/// Of the thread that runs and of its launch; the machine sets them.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
