// Philox4x32-10, the counter-based generator of Salmon et al. 2011 ("Parallel random numbers: as easy as 1,
// 2, 3").
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SPA_HOST_DEVICE __host__ __device__
#else
#define SPA_HOST_DEVICE
#endif

namespace spa::kernels {

struct PhiloxBlock {
  uint32_t word[4];
};

/// The four 32-bit words of counter (c0, c1, c2, c3) under `key`.
SPA_HOST_DEVICE static inline PhiloxBlock philox4x32(uint64_t key, uint64_t counter_low,
                                                     uint64_t counter_high) {
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c0;
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c0 = n0;
    c1 = static_cast<uint32_t>(p1);
    c2 = n2;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// Uniform in [0, 1) with 24 bits: the first word of Philox under key `seed` at counter (position, stream).
SPA_HOST_DEVICE static inline float philox_uniform(uint64_t seed, uint64_t stream, uint64_t position) {
  return static_cast<float>(philox4x32(seed, position, stream).word[0] >> 8) * (1.0f / 16777216.0f);
}

}  // namespace spa::kernels
