#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// swapcontext asks the kernel for the signal mask each time, which costs twenty times as much as this.
extern "C" void cuda_on_cpu_switch(void** from, void* to);
__asm__(R"(
.text
.type cuda_on_cpu_switch, @function
cuda_on_cpu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_on_cpu_switch, . - cuda_on_cpu_switch
)");
#endif

namespace cuda_on_cpu {
namespace {

Fiber* running = nullptr;

size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

#if defined(__x86_64__)
void prepare(Context& context, char* stack, size_t size, void (*entry)()) {
  // Six registers, the address that `ret` takes, and one word: a function begins 8 bytes off 16.
  auto* frame = reinterpret_cast<void (**)()>(stack + size) - 8;
  std::memset(frame, 0, 8 * sizeof *frame);
  frame[6] = entry;
  context = frame;
}
void change(Context& from, Context& to) { cuda_on_cpu_switch(&from, to); }
[[maybe_unused]] char* lowest_frame(Context context, char* stack) {
  return context == nullptr ? stack : static_cast<char*>(context);
}
#else
void prepare(Context& context, char* stack, size_t size, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = size;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}
void change(Context& from, Context& to) { swapcontext(&from, &to); }
[[maybe_unused]] char* lowest_frame(const Context&, char* stack) { return stack; }
#endif

}  // namespace

Fiber::Fiber() {
  const size_t page = page_bytes();
  void* memory = mmap(nullptr, page + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);
  stack_ = static_cast<char*>(memory) + page;
}

Fiber::~Fiber() { munmap(stack_ - page_bytes(), page_bytes() + stack_bytes); }

void Fiber::enter() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &running->outer_stack_, &running->outer_size_);
#endif
  running->body_();
  std::abort();  // bodies end with finish()
}

void Fiber::start(void (*body)()) {
  body_ = body;
#if defined(__SANITIZE_ADDRESS__)
  // The frames of the last body were never left.
  char* frames = lowest_frame(inside_, stack_);
  __asan_unpoison_memory_region(frames, static_cast<size_t>(stack_ + stack_bytes - frames));
#endif
  prepare(inside_, stack_, stack_bytes, &Fiber::enter);
}

void Fiber::resume() {
  running = this;
#if defined(__SANITIZE_ADDRESS__)
  void* state = nullptr;
  __sanitizer_start_switch_fiber(&state, stack_, stack_bytes);
#endif
  change(outside_, inside_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(state, nullptr, nullptr);
#endif
}

void Fiber::yield() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&sanitizer_state_, outer_stack_, outer_size_);
#endif
  change(inside_, outside_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(sanitizer_state_, &outer_stack_, &outer_size_);
#endif
}

void Fiber::finish() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(nullptr, outer_stack_, outer_size_);
#endif
  change(inside_, outside_);
  std::abort();  // nobody resumes it
}

}  // namespace cuda_on_cpu
