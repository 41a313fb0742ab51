#include "machine.h"

#include <link.h>

#include <algorithm>
#include <bit>
#include <csetjmp>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fiber.h"
#include "schedule.h"
#include "signals.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_on_cpu {
namespace {

/// Turns that warps keep their ranks for, on average: enough for one to run through several warp-wide
/// exchanges while others stand still.
constexpr unsigned patience = 2000;

enum class State { ready, at_barrier, in_warp, done };

struct Copy {
  void* target;
  const void* source;
  size_t bytes;
};

/// A thread of the block that runs.
struct Thread {
  Fiber fiber;
  uint3 index{};
  unsigned number = 0;
  State state = State::ready;
  std::optional<std::source_location> place;  // of what it waits for
  BarrierValue barrier = BarrierValue::none;
  int value = 0;  // at a barrier: handed in, then the result
  uint32_t mask = 0;
  Complete complete = nullptr;
  void* request = nullptr;
  std::vector<Copy> open_copies;
  std::deque<std::vector<Copy>> copy_groups;
};

struct Machine {
  Schedule schedule;
  std::mt19937_64 random;
  std::set<Site> barriers;
  std::string fault;
  bool has_fault = false;

  void (*body)(const void*) = nullptr;
  const void* context = nullptr;
  std::vector<unsigned char> shared;
  std::vector<std::unique_ptr<Thread>> threads;  // of the largest block so far
  unsigned count = 0;                            // threads of this block
  unsigned left = 0;                             // of these that are not done
  std::vector<uint32_t> ready;                   // by warp: lanes that can go on
  std::vector<unsigned> order;                   // warps, those ahead first
  Thread* running = nullptr;
};

Machine machine;

std::string file_name(const char* path) {
  const std::string text = path;
  const size_t slash = text.find_last_of('/');
  return slash == std::string::npos ? text : text.substr(slash + 1);
}

/// "rms_norm.cu:12 in backward_kernel"
std::string describe(const std::source_location& place) {
  std::string name = place.function_name();
  name = name.substr(0, name.find(' ') == std::string::npos ? 0 : std::string::npos);
  const size_t arguments =
      name.find('(', name.find("{anonymous}") == std::string::npos ? 0 : name.find("{anonymous}"));
  name = name.substr(0, arguments);
  name = name.substr(name.find_last_of(": ") + 1);
  return Site(place).text() + " in " + name;
}

std::string describe(const Thread& thread) {
  const auto text = [](const uint3& index) {
    std::string result = "(";
    result += std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
    return result;
  };
  return "thread " + text(thread.index) + " of block " + text(blockIdx);
}

void note_fault(const std::string& what) {
  machine.fault = what;
  machine.has_fault = true;
}

unsigned random_below(unsigned n) { return static_cast<unsigned>(machine.random() % n); }

template <typename T>
void shuffle(std::vector<T>& values) {
  for (size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[random_below(static_cast<unsigned>(i))]);
}

unsigned warp_of(const Thread& thread) { return thread.number / warp_lanes; }
uint32_t bit_of(const Thread& thread) { return uint32_t{1} << thread.number % warp_lanes; }

/// Ends the launch with the fault that has been noted, as one of the running thread. Whoever calls it owns
/// nothing then, for its frames are never left.
[[noreturn]] void stop(const std::source_location& place) {
  note_fault(describe(place) + ": " + machine.fault + " (" + describe(*machine.running) + ")");
  machine.running->fiber.finish();
}

void make_ready(Thread& thread) {
  thread.state = State::ready;
  machine.ready[warp_of(thread)] |= bit_of(thread);
}

/// Gives control to the scheduler until the thread is ready and has its turn.
void pause(State state, const std::source_location& place) {
  Thread& thread = *machine.running;
  thread.state = state;
  thread.place = place;
  if (state != State::ready) machine.ready[warp_of(thread)] &= ~bit_of(thread);
  thread.fiber.yield();
}

/// The next thread to run, or null where none is ready.
Thread* choose() {
  if (machine.schedule.seed != 0 && random_below(patience) == 0) shuffle(machine.order);
  for (const unsigned warp : machine.order) {
    const uint32_t lanes = machine.ready[warp];
    if (lanes == 0) continue;
    int skip = machine.schedule.seed == 0 ? 0 : static_cast<int>(random_below(std::popcount(lanes)));
    uint32_t left = lanes;
    while (skip-- > 0) left &= left - 1;
    return machine.threads[warp * warp_lanes + std::countr_zero(left)].get();
  }
  return nullptr;
}

/// Nobody can go on: either all threads stand at one barrier, or the kernel is wrong.
void open_barrier() {
  const Thread* first = nullptr;
  for (unsigned i = 0; i < machine.count; ++i) {
    const Thread& thread = *machine.threads[i];
    if (thread.state == State::in_warp) {
      return note_fault(describe(thread) + " waits at " + describe(*thread.place) +
                        " for lanes of its warp that do not come");
    }
    if (thread.state == State::at_barrier && first == nullptr) first = &thread;
  }
  for (unsigned i = 0; i < machine.count; ++i) {
    const Thread& thread = *machine.threads[i];
    const std::string others = "a barrier at " + describe(*first->place) + " that not all threads reach: ";
    if (thread.state == State::done) return note_fault(others + describe(thread) + " has left");
    if (Site(*thread.place) != Site(*first->place))
      return note_fault(others + describe(thread) + " waits at " + describe(*thread.place));
  }
  int count = 0;
  for (unsigned i = 0; i < machine.count; ++i) count += machine.threads[i]->value != 0;
  const BarrierValue kind = first->barrier;
  const int result = kind == BarrierValue::count ? count
                     : kind == BarrierValue::any ? count > 0
                                                 : count == static_cast<int>(machine.count);
  for (unsigned i = 0; i < machine.count; ++i) {
    machine.threads[i]->value = result;
    make_ready(*machine.threads[i]);
  }
}

/// The thread-local variables of this program, which are the kernels' static shared memory and nothing else.
struct StaticShared {
  unsigned char* data = nullptr;
  size_t bytes = 0;
};

StaticShared static_shared() {
  StaticShared found;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* result) {
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
          *static_cast<StaticShared*>(result) = {static_cast<unsigned char*>(info->dlpi_tls_data),
                                                 info->dlpi_phdr[i].p_memsz};
        }
        return 1;  // the program itself comes first
      },
      &found);
  return found;
}

void poison_shared(size_t dynamic_bytes) {
  const StaticShared memory = static_shared();
  if (memory.data != nullptr) std::memset(memory.data, machine.schedule.poison, memory.bytes);
  machine.shared.assign(dynamic_bytes + 16, machine.schedule.poison);
}

void run_thread() {
  machine.body(machine.context);
  Thread& thread = *machine.running;
  thread.state = State::done;
  machine.ready[warp_of(thread)] &= ~bit_of(thread);
  --machine.left;
  thread.fiber.finish();
}

void start_block() {
  machine.left = machine.count;
  machine.ready.assign((machine.count + warp_lanes - 1) / warp_lanes, 0);
  machine.order.clear();
  for (unsigned warp = 0; warp < machine.ready.size(); ++warp) machine.order.push_back(warp);
  if (machine.schedule.seed != 0) shuffle(machine.order);
  for (unsigned i = 0; i < machine.count; ++i) {
    Thread& thread = *machine.threads[i];
    thread.number = i;
    thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    thread.open_copies.clear();
    thread.copy_groups.clear();
    thread.place.reset();
    thread.fiber.start(run_thread);
    make_ready(thread);
  }
}

void run_block() {
  start_block();
  while (machine.left > 0 && !machine.has_fault) {
    Thread* next = choose();
    if (next == nullptr) {
      open_barrier();
      continue;
    }
    machine.running = next;
    threadIdx = next->index;
    next->fiber.resume();
  }
  machine.running = nullptr;
}

/// run_block(), with signals as faults. What it calls owns nothing, for it may be left by a jump.
void run_block_guarded() {
  if (sigsetjmp(SignalWatch::landing(), 1) == 0) return run_block();
  std::string what = SignalWatch::text();
  if (machine.running != nullptr) {
    what += " by " + describe(*machine.running);
    if (machine.running->place) what += ", after " + describe(*machine.running->place);
  }
  note_fault(what);
  machine.running = nullptr;
}

}  // namespace

Site::Site(const std::source_location& place) : file(file_name(place.file_name())), line(place.line()) {}

void use(const Schedule& schedule) {
  machine.schedule = schedule;
  machine.random.seed(schedule.seed);
}

const Schedule& schedule() { return machine.schedule; }

std::vector<Site> take_barriers() {
  std::vector<Site> sites(machine.barriers.begin(), machine.barriers.end());
  machine.barriers.clear();
  return sites;
}

const char* fault_text() { return machine.fault.c_str(); }

bool run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*body)(const void*), const void* context) {
  gridDim = grid;
  blockDim = block;
  machine.body = body;
  machine.context = context;
  machine.count = block.x * block.y * block.z;
  machine.has_fault = false;
  while (machine.threads.size() < machine.count) machine.threads.push_back(std::make_unique<Thread>());
  std::vector<uint64_t> blocks(uint64_t{grid.x} * grid.y * grid.z);
  for (uint64_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
  if (machine.schedule.seed != 0) shuffle(blocks);
  const SignalWatch watch;
  for (const uint64_t i : blocks) {
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / grid.x / grid.y)};
    poison_shared(shared_bytes);
    run_block_guarded();
    if (machine.has_fault) return false;
  }
  return true;
}

unsigned lane_number() { return machine.running->number % warp_lanes; }

void* dynamic_shared_memory() {
  const auto address = reinterpret_cast<uintptr_t>(machine.shared.data());
  return reinterpret_cast<void*>((address + 15) / 16 * 16);
}

int wait_for_block(BarrierValue kind, int value, const std::source_location& place) {
  const Site site(place);
  machine.barriers.insert(site);
  if (machine.schedule.without == site) return value;
  Thread& thread = *machine.running;
  thread.barrier = kind;
  thread.value = value;
  pause(State::at_barrier, place);
  return thread.value;
}

void wait_for_warp(uint32_t mask, Complete complete, void* request, const std::source_location& place) {
  Thread& self = *machine.running;
  if ((mask & bit_of(self)) == 0) fault("a mask without the lane that gives it", place);
  self.mask = mask;
  self.complete = complete;
  self.request = request;
  self.state = State::in_warp;
  self.place = place;
  void* requests[warp_lanes] = {};
  const unsigned first = warp_of(self) * warp_lanes;
  for (uint32_t left = mask; left != 0; left &= left - 1) {
    const unsigned number = first + static_cast<unsigned>(std::countr_zero(left));
    if (number >= machine.count) fault("a mask with lanes that the block does not have", place);
    const Thread& other = *machine.threads[number];
    if (other.state == State::done) {
      note_fault("a mask with " + describe(other) + ", which has left");
      stop(place);
    }
    if (other.state != State::in_warp) return pause(State::in_warp, place);
    if (other.mask != mask || other.complete != complete || Site(*other.place) != Site(place)) {
      note_fault(describe(other) + " of the same mask waits at " + describe(*other.place));
      stop(place);
    }
    requests[number - first] = other.request;
  }
  complete(requests, mask);
  for (uint32_t left = mask; left != 0; left &= left - 1)
    make_ready(*machine.threads[first + static_cast<unsigned>(std::countr_zero(left))]);
  let_others_run();
}

void wait_for_lanes(uint32_t mask, const std::source_location& place) {
  const Site site(place);
  machine.barriers.insert(site);
  if (machine.schedule.without == site) return;
  wait_for_warp(mask, [](void* const(&)[warp_lanes], uint32_t) {}, nullptr, place);
}

void let_others_run() {
  Thread& thread = *machine.running;
  if (machine.schedule.seed != 0) thread.fiber.yield();
}

void fault(const char* what, const std::source_location& place) {
  note_fault(what);
  stop(place);
}

void copy_later(void* target, const void* source, size_t bytes) {
  machine.running->open_copies.push_back({target, source, bytes});
}

void close_copy_group() {
  Thread& thread = *machine.running;
  thread.copy_groups.push_back(std::move(thread.open_copies));
  thread.open_copies.clear();
}

void wait_for_copies(int open_groups) {
  auto& groups = machine.running->copy_groups;
  while (groups.size() > static_cast<size_t>(open_groups)) {
    for (const Copy& copy : groups.front()) std::memcpy(copy.target, copy.source, copy.bytes);
    groups.pop_front();
  }
}

}  // namespace cuda_on_cpu
