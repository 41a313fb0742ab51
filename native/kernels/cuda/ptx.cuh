// Instructions and memory that CUDA C++ has no portable word for.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#if defined(__CUDACC__)

namespace spa::kernels::cuda {

/// The launch's dynamic shared memory, 16-byte aligned.
template <typename T>
__device__ inline T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char memory[];
  return reinterpret_cast<T*>(memory);
}

/// Starts to copy 16 bytes from global to shared memory, both 16-byte aligned. They are there for this thread
/// after cp_async_wait, for the others after a barrier behind that.
__device__ inline void cp_async_16(void* shared, const void* global) {
  const auto target = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target), "l"(global) : "memory");
}

/// Closes a group of the copies since the last one.
__device__ inline void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most the newest `groups` groups are on their way.
template <int groups>
__device__ inline void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}

/// d += a b of a warp: a [16, 16] and b [16, 8] bfloat16, d [16, 8] float32, in the fragments of the PTX
/// manual (mma.m16n8k16): with g = lane / 4 and t = lane % 4, a holds rows g, g + 8, g, g + 8 of columns 2t
/// and 2t + 1, the last two 8 further; b rows 2t and 2t + 1, then 8 further, of column g; d rows g, g, g + 8,
/// g + 8 of columns 2t, 2t + 1, 2t, 2t + 1.
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace spa::kernels::cuda

#else
#include <ptx_on_cpu.h>
#endif
