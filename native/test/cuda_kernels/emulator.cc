// The emulator itself: what kernels can use, and what it finds in kernels that are wrong.
#include <algorithm>
#include <cstring>

#include "cuda_on_cpu/fiber.h"
#include "kernel_test.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"

using namespace spa;
using namespace spa::test;
using cuda_on_cpu::is_determined;
using cuda_on_cpu::LaunchError;
using kernels::cuda::launch;

namespace {

/// The fault that a launch ends with; empty: none.
template <typename Body>
std::string fault_of(const Body& body) {
  try {
    body();
  } catch (const LaunchError& error) {
    return error.what();
  }
  return {};
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// --- indices, votes, atomics

__global__ void indices_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] = static_cast<int>(thread + 1000 * block);
}

__global__ void votes_kernel(int* out) {
  const int thread = static_cast<int>(threadIdx.x);
  const unsigned full = 0xffffffffu;
  int* own = out + thread * 13;
  own[0] = static_cast<int>(__ballot_sync(full, thread % 3 == 0));
  own[1] = __any_sync(full, thread == 40);
  own[2] = __all_sync(full, thread >= 32);
  own[3] = __syncthreads_count(thread % 5 == 0);
  own[4] = __syncthreads_and(thread < 63);
  own[5] = __syncthreads_or(thread == 63);
  own[6] = __shfl_sync(full, thread, 5);
  own[7] = __shfl_sync(full, thread, 3, 8);
  own[8] = __shfl_xor_sync(full, thread, 16);
  own[9] = __shfl_up_sync(full, thread, 2);
  own[10] = __shfl_down_sync(full, thread, 30);
  // Half of a warp on its own.
  own[11] = thread % 32 < 16 ? __shfl_xor_sync(0xffffu, thread, 1) : -1;
  __shared__ int total;
  if (thread == 0) total = 100;
  __syncthreads();
  atomicAdd(&total, thread);
  __syncthreads();
  own[12] = total;
}

// --- shared memory and barriers

/// Two sums in a row: the second must not begin to write before the first has been read by all.
__global__ void reductions_kernel(const float* x, float* out) {
  const float first = kernels::cuda::block_reduce(x[threadIdx.x], kernels::cuda::Sum{});
  const float second = kernels::cuda::block_reduce(x[threadIdx.x] * first, kernels::cuda::Sum{});
  out[threadIdx.x] = second;
}

template <bool with_barrier>
__global__ void turn_kernel(const float* x, float* y) {
  float* memory = kernels::cuda::dynamic_shared<float>();
  memory[threadIdx.x] = x[threadIdx.x];
  if (with_barrier) __syncthreads();
  y[threadIdx.x] = memory[blockDim.x - 1 - threadIdx.x];
}

template <bool with_barrier>
__global__ void turn_warp_kernel(const float* x, float* y) {
  __shared__ float memory[32];
  memory[threadIdx.x] = x[threadIdx.x];
  if (with_barrier) __syncwarp();
  y[threadIdx.x] = memory[31 - threadIdx.x];
}

/// Reads the second half of what it writes the first half of.
__global__ void unwritten_kernel(float* out) {
  __shared__ float memory[64];
  if (threadIdx.x < 32) memory[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = memory[threadIdx.x];
}

// --- kernels that are wrong

__global__ void half_barrier_kernel(int* out) {
  if (threadIdx.x < 40) __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void two_barriers_kernel(int* out) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1;
}

__global__ void left_lane_kernel(int* out) {
  if (threadIdx.x == 7) return;
  out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
}

__global__ void missing_lane_kernel(int* out) {
  int value = 0;
  if (threadIdx.x < 16) value = __shfl_xor_sync(0xffffffffu, 1, 1);
  __syncthreads();
  out[threadIdx.x] = value;
}

__global__ void outside_lane_kernel(int* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}

__global__ void strangers_kernel(int* out) {
  if (threadIdx.x < 16) {
    out[threadIdx.x] = __shfl_sync(0xffffffffu, 1, 0);
  } else {
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 2, 1);
  }
}

__global__ void at_kernel(const float* x, float* y, int64_t from, int64_t to) { y[to] = x[from]; }

__global__ void wide_load_kernel(const float* x, float4* y) { *y = *reinterpret_cast<const float4*>(x); }

__global__ void index_kernel(int i, float* y) {
  __shared__ float memory[8];
  memory[i] = 1.0f;
  *y = memory[i];
}

// --- copies and products

template <bool waits>
__global__ void copy_kernel(const float* x, float* y) {
  __shared__ __align__(16) float memory[32 * 4];
  kernels::cuda::cp_async_16(memory + threadIdx.x * 4, x + threadIdx.x * 4);
  kernels::cuda::cp_async_commit();
  if (waits) kernels::cuda::cp_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i) y[threadIdx.x * 4 + i] = memory[127 - threadIdx.x * 4 - i];
}

/// d [16, 8] = a [16, 16] b [16, 8]
__global__ void product_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* d) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const auto pair = [](const __nv_bfloat16& low, const __nv_bfloat16& high) {
    uint16_t bits[2];
    memcpy(&bits[0], &low, 2);
    memcpy(&bits[1], &high, 2);
    return static_cast<uint32_t>(bits[0]) | static_cast<uint32_t>(bits[1]) << 16;
  };
  const auto of_a = [&](int row, int column) { return pair(a[row * 16 + column], a[row * 16 + column + 1]); };
  const auto of_b = [&](int row, int column) { return pair(b[row * 8 + column], b[(row + 1) * 8 + column]); };
  const uint32_t fragment_a[4] = {of_a(g, 2 * t), of_a(g + 8, 2 * t), of_a(g, 2 * t + 8),
                                  of_a(g + 8, 2 * t + 8)};
  const uint32_t fragment_b[2] = {of_b(2 * t, g), of_b(2 * t + 8, g)};
  float sums[4] = {};
  kernels::cuda::mma_bf16(sums, fragment_a, fragment_b);
  d[g * 8 + 2 * t] = sums[0];
  d[g * 8 + 2 * t + 1] = sums[1];
  d[(g + 8) * 8 + 2 * t] = sums[2];
  d[(g + 8) * 8 + 2 * t + 1] = sums[3];
}

std::vector<Numbers> run_turn(void (*kernel)(const float*, float*), unsigned threads) {
  const auto x = input(normal<float>(threads, 1));
  const DeviceArray<float> y(threads);
  launch(kernel, {1, threads, nullptr, threads * sizeof(float)}, x.data(), y.data());
  return {written(y)};
}

}  // namespace

TEST_CASE("emulator: blocks and threads in three dimensions") {
  const dim3 grid(2, 3, 2), block(5, 2, 4);
  const auto out = prove([&]() -> std::vector<Numbers> {
    const DeviceArray<int> y(12 * 40);
    launch(indices_kernel, {grid, block}, y.data());
    return {written(y)};
  });
  for (int i = 0; i < 12 * 40; ++i) REQUIRE(out[0][i] == i % 40 + 1000 * (i / 40));
}

TEST_CASE("emulator: votes, shuffles, counting barriers and atomics") {
  const auto out = prove([]() -> std::vector<Numbers> {
    const DeviceArray<int> y(64 * 13);
    launch(votes_kernel, {1, 64}, y.data());
    return {written(y)};
  });
  for (int t = 0; t < 64; ++t) {
    CAPTURE(t);
    const int first = t / 32 * 32, lane = t % 32;
    unsigned ballot = 0;
    for (int i = 0; i < 32; ++i) ballot |= ((first + i) % 3 == 0 ? 1u : 0u) << i;
    const Numbers expected{static_cast<double>(static_cast<int>(ballot)),
                           static_cast<double>(t >= 32),
                           static_cast<double>(t >= 32),
                           13,
                           0,
                           1,
                           static_cast<double>(first + 5),
                           static_cast<double>(t / 8 * 8 + 3),
                           static_cast<double>(t ^ 16),
                           static_cast<double>(lane < 2 ? t : t - 2),
                           static_cast<double>(lane < 2 ? t + 30 : t),
                           static_cast<double>(lane < 16 ? t ^ 1 : -1),
                           100 + 63 * 64 / 2};
    CHECK(Numbers(out[0].begin() + t * 13, out[0].begin() + (t + 1) * 13) == expected);
  }
}

TEST_CASE("emulator: reductions of a block, and each of their barriers is needed") {
  const auto x = normal<float>(256, 1);
  const auto run = [&]() -> std::vector<Numbers> {
    const auto from = input(x);
    const DeviceArray<float> y(256);
    launch(reductions_kernel, {1, 256}, from.data(), y.data());
    return {written(y)};
  };
  double sum = 0;
  for (const float v : x) sum += v;
  CHECK(error(prove(run)[0], Numbers(256, sum * sum)) < 1e-5);
  prove_barriers("device.cuh", {run});
}

TEST_CASE("emulator: barriers of block and warp order shared memory") {
  const auto x = normal<float>(96, 1), y = normal<float>(32, 1);
  CHECK(prove([] { return run_turn(turn_kernel<true>, 96); })[0] ==
        numbers(std::vector(x.rbegin(), x.rend())));
  CHECK(prove([] { return run_turn(turn_warp_kernel<true>, 32); })[0] ==
        numbers(std::vector(y.rbegin(), y.rend())));
  prove_barriers("emulator.cc", {[] { return run_turn(turn_kernel<true>, 96); },
                                 [] { return run_turn(turn_warp_kernel<true>, 32); }});
}

TEST_CASE("emulator: missing barriers, and memory that nobody wrote, give other numbers") {
  CHECK_FALSE(is_determined([] { return run_turn(turn_kernel<false>, 96); }));
  CHECK_FALSE(is_determined([] { return run_turn(turn_warp_kernel<false>, 32); }));
  CHECK_FALSE(is_determined([]() -> std::vector<Numbers> {
    const DeviceArray<float> y(64);
    launch(unwritten_kernel, {1, 64}, y.data());
    return {written(y)};
  }));
  CHECK_FALSE(is_determined([]() -> std::vector<Numbers> { return {written(DeviceArray<float>(1))}; }));
}

TEST_CASE("emulator: barriers that not all threads reach are named") {
  const DeviceArray<int> y(64);
  const std::string half = fault_of([&] { launch(half_barrier_kernel, {1, 64}, y.data()); });
  CAPTURE(half);
  CHECK(has(half, "in half_barrier_kernel that not all threads reach"));
  CHECK(has(half, "thread (40, 0, 0) of block (0, 0, 0) has left"));
  CHECK(has(half, "(launched at emulator.cc:"));
  const std::string two = fault_of([&] { launch(two_barriers_kernel, {1, 64}, y.data()); });
  CAPTURE(two);
  CHECK(has(two, "in two_barriers_kernel that not all threads reach"));
  CHECK(has(two, "waits at emulator.cc:"));
}

TEST_CASE("emulator: shuffles of lanes that have left, do not come or do something else are named") {
  const DeviceArray<int> y(32);
  const auto fault = [&](void (*kernel)(int*)) {
    return fault_of([&] { launch(kernel, {1, 32}, y.data()); });
  };
  CHECK(has(fault(left_lane_kernel), "in left_lane_kernel: a mask with thread (7, 0, 0)"));
  CHECK(has(fault(missing_lane_kernel), "in missing_lane_kernel for lanes of its warp that do not come"));
  CHECK(has(fault(outside_lane_kernel),
            "in outside_lane_kernel: a shuffle from a lane that is not in the mask"));
  const std::string strangers = fault(strangers_kernel);
  CAPTURE(strangers);
  CHECK(has(strangers, "in strangers_kernel: thread (0, 0, 0) of block (0, 0, 0) of the same mask"));
  CHECK(has(fault_of([&] { launch(left_lane_kernel, {1, 7}, y.data()); }),
            "lanes that the block does not have"));
}

TEST_CASE("emulator: accesses beside buffers, to inputs and misaligned ones are faults" *
          doctest::skip(cuda_on_cpu::has_address_sanitizer)) {
  const auto x = input(normal<float>(16, 1));
  const DeviceArray<float> y(16);
  const auto fault = [&](int64_t from, int64_t to) {
    return fault_of([&] { launch(at_kernel, {1, 1}, x.data(), y.data(), from, to); });
  };
  CHECK(fault(15, 0).empty());
  CHECK(has(fault(16, 0), "an access out of bounds"));
  CHECK(has(fault(0, 16), "an access out of bounds"));
  CHECK(has(fault_of([&] { launch(at_kernel, {1, 1}, y.data(), x.data(), int64_t{0}, int64_t{0}); }),
            "an access out of bounds"));
  const DeviceArray<float> small(3);
  launch(at_kernel, {1, 1}, x.data(), small.data(), int64_t{0}, int64_t{3});
  CHECK_FALSE(small.is_intact());
  launch(at_kernel, {1, 1}, x.data(), y.data(), int64_t{0}, int64_t{-1});
  CHECK_FALSE(y.is_intact());
  const DeviceArray<float4> wide(1);
  launch(wide_load_kernel, {1, 1}, x.data() + 4, wide.data());
  const std::string misaligned =
      fault_of([&] { launch(wide_load_kernel, {1, 1}, x.data() + 1, wide.data()); });
  CHECK(has(misaligned, "a misaligned access"));
  CHECK(has(fault_of([&] { launch(index_kernel, {1, 1}, 8, y.data()); }), "an index outside of an array"));
}

TEST_CASE("emulator: asynchronous copies land when they are waited for") {
  const auto x = normal<float>(128, 1);
  const auto run = [&](void (*kernel)(const float*, float*)) -> std::vector<Numbers> {
    const auto from = input(x);
    const DeviceArray<float> y(128);
    launch(kernel, {1, 32}, from.data(), y.data());
    return {written(y)};
  };
  CHECK(prove([&] { return run(copy_kernel<true>); })[0] == numbers(std::vector(x.rbegin(), x.rend())));
  const Numbers early = run(copy_kernel<false>)[0];
  CHECK(std::all_of(early.begin(), early.end(), [](double value) { return std::isnan(value); }));
}

TEST_CASE("emulator: the product of a warp's fragments") {
  const auto a = normal<__nv_bfloat16>(256, 1), b = normal<__nv_bfloat16>(128, 2);
  Numbers expected(128);
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      for (int k = 0; k < 16; ++k) expected[i * 8 + j] += widened(a[i * 16 + k]) * widened(b[k * 8 + j]);
    }
  }
  const auto out = prove([&]() -> std::vector<Numbers> {
    const auto left = input(a), right = input(b);
    const DeviceArray<float> d(128);
    launch(product_kernel, {1, 32}, left.data(), right.data(), d.data());
    return {written(d)};
  });
  CHECK(error(out[0], expected) < 1e-6);
}

TEST_CASE("emulator: launches that no card takes are refused") {
  const DeviceArray<int> y(2048);
  const auto fault = [&](const kernels::cuda::Launch& how) {
    return fault_of([&] { launch(indices_kernel, how, y.data()); });
  };
  CHECK(has(fault({0, 32}), "invalid configuration argument (launched at emulator.cc:"));
  CHECK(has(fault({1, 1025}), "invalid configuration argument"));
  CHECK(has(fault({dim3(1, 65536), 1}), "invalid configuration argument"));
  CHECK(fault({1, 32, nullptr, 163 * 1024}).empty());
  CHECK(has(fault({1, 32, nullptr, 164 * 1024}), "invalid argument"));
}
