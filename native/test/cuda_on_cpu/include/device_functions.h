// CUDA's built-in device functions.
#pragma once

#include <bit>
#include <cmath>
#include <type_traits>

// --- barriers and memory
inline void __syncthreads(std::source_location place = std::source_location::current()) {
  cuda_on_cpu::wait_for_block(cuda_on_cpu::BarrierValue::none, 0, place);
}
inline int __syncthreads_count(int value, std::source_location place = std::source_location::current()) {
  return cuda_on_cpu::wait_for_block(cuda_on_cpu::BarrierValue::count, value, place);
}
inline int __syncthreads_and(int value, std::source_location place = std::source_location::current()) {
  return cuda_on_cpu::wait_for_block(cuda_on_cpu::BarrierValue::all, value, place);
}
inline int __syncthreads_or(int value, std::source_location place = std::source_location::current()) {
  return cuda_on_cpu::wait_for_block(cuda_on_cpu::BarrierValue::any, value, place);
}
inline void __syncwarp(unsigned mask = 0xffffffffu,
                       std::source_location place = std::source_location::current()) {
  cuda_on_cpu::wait_for_lanes(mask, place);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace cuda_on_cpu {

// --- shuffles
template <typename T>
struct Shuffle {
  T value;
  unsigned source;
  T result;
  std::source_location place;
};

template <typename T>
T exchange(unsigned mask, T value, unsigned source, const std::source_location& place) {
  Shuffle<T> own{value, source, value, place};
  wait_for_warp(
      mask,
      [](void* const(&requests)[warp_lanes], uint32_t lanes) {
        for (uint32_t left = lanes; left != 0; left &= left - 1) {
          auto& request = *static_cast<Shuffle<T>*>(requests[std::countr_zero(left)]);
          const void* source_request = requests[request.source];
          if (source_request == nullptr)
            fault("a shuffle from a lane that is not in the mask", request.place);
          request.result = static_cast<const Shuffle<T>*>(source_request)->value;
        }
      },
      &own, place);
  return own.result;
}

/// The lane that a shuffle reads: of `lane`'s segment of `width` lanes, else the lane itself.
inline unsigned source_lane(int lane, int first, int width) {
  const int own = static_cast<int>(lane_number());
  const bool inside = lane >= first && lane < first + width;
  return static_cast<unsigned>(inside ? lane : own);
}
inline int segment(int width) { return static_cast<int>(lane_number()) / width * width; }

// --- votes
struct Vote {
  bool value;
  uint32_t ballot;
};

inline uint32_t vote(unsigned mask, bool value, const std::source_location& place) {
  Vote own{value, 0};
  wait_for_warp(
      mask,
      [](void* const(&requests)[warp_lanes], uint32_t lanes) {
        uint32_t ballot = 0;
        for (unsigned i = 0; i < warp_lanes; ++i) {
          if (requests[i] != nullptr && static_cast<Vote*>(requests[i])->value) ballot |= uint32_t{1} << i;
        }
        for (uint32_t left = lanes; left != 0; left &= left - 1)
          static_cast<Vote*>(requests[std::countr_zero(left)])->ballot = ballot;
      },
      &own, place);
  return own.ballot;
}

/// Changes a place in one go; other threads may come before and after.
template <typename T, typename Change>
T atomically(T* at, const Change& change) {
  let_others_run();
  const T before = *at;
  *at = change(before);
  return before;
}

}  // namespace cuda_on_cpu

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              std::source_location place = std::source_location::current()) {
  const int first = cuda_on_cpu::segment(width), within = ((lane % width) + width) % width;
  return cuda_on_cpu::exchange(mask, value, cuda_on_cpu::source_lane(first + within, first, width), place);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  std::source_location place = std::source_location::current()) {
  const int first = cuda_on_cpu::segment(width), lane = static_cast<int>(cuda_on_cpu::lane_number()) ^ bits;
  return cuda_on_cpu::exchange(mask, value, cuda_on_cpu::source_lane(lane, first, width), place);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32,
                 std::source_location place = std::source_location::current()) {
  const int first = cuda_on_cpu::segment(width);
  const int lane = static_cast<int>(cuda_on_cpu::lane_number()) - static_cast<int>(distance);
  return cuda_on_cpu::exchange(mask, value, cuda_on_cpu::source_lane(lane, first, width), place);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32,
                   std::source_location place = std::source_location::current()) {
  const int first = cuda_on_cpu::segment(width);
  const int lane = static_cast<int>(cuda_on_cpu::lane_number()) + static_cast<int>(distance);
  return cuda_on_cpu::exchange(mask, value, cuda_on_cpu::source_lane(lane, first, width), place);
}

inline unsigned __ballot_sync(unsigned mask, int value,
                              std::source_location place = std::source_location::current()) {
  return cuda_on_cpu::vote(mask, value != 0, place);
}
inline int __any_sync(unsigned mask, int value,
                      std::source_location place = std::source_location::current()) {
  return cuda_on_cpu::vote(mask, value != 0, place) != 0;
}
inline int __all_sync(unsigned mask, int value,
                      std::source_location place = std::source_location::current()) {
  return cuda_on_cpu::vote(mask, value != 0, place) == mask;
}

// --- atomics
template <typename T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return cuda_on_cpu::atomically(at, [&](T x) { return static_cast<T>(x + value); });
}
template <typename T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  return cuda_on_cpu::atomically(at, [&](T x) { return x < value ? x : value; });
}
template <typename T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  return cuda_on_cpu::atomically(at, [&](T x) { return x < value ? value : x; });
}
template <typename T>
T atomicOr(T* at, std::type_identity_t<T> value) {
  return cuda_on_cpu::atomically(at, [&](T x) { return static_cast<T>(x | value); });
}
template <typename T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return cuda_on_cpu::atomically(at, [&](T) { return value; });
}
template <typename T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return cuda_on_cpu::atomically(at, [&](T x) { return x == expected ? value : x; });
}

// --- numbers
template <typename A, typename B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
template <typename T>
T __ldg(const T* p) {
  return *p;
}
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
