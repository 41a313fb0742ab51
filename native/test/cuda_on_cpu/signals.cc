#include "signals.h"

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>

#include "fiber.h"

namespace cuda_on_cpu {
namespace {

constexpr std::array signals{SIGSEGV, SIGBUS, SIGILL, SIGFPE};

sigjmp_buf jump;
volatile int caught = 0;
void* volatile address = nullptr;
std::array<struct sigaction, signals.size()> before;
stack_t stack_before;
alignas(16) char stack[64 * 1024];  // the fiber's own may be what has run out

void on_signal(int signal, siginfo_t* info, void*) {
  caught = signal;
  address = info->si_addr;
  siglongjmp(jump, 1);
}

}  // namespace

SignalWatch::SignalWatch() {
  if (has_address_sanitizer) return;
  stack_t own{};
  own.ss_sp = stack;
  own.ss_size = sizeof stack;
  sigaltstack(&own, &stack_before);
  struct sigaction action{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &action, &before[i]);
}

SignalWatch::~SignalWatch() {
  if (has_address_sanitizer) return;
  for (size_t i = 0; i < signals.size(); ++i) sigaction(signals[i], &before[i], nullptr);
  sigaltstack(&stack_before, nullptr);
}

sigjmp_buf& SignalWatch::landing() { return jump; }

std::string SignalWatch::text() {
  char where[32];
  std::snprintf(where, sizeof where, "%p", address);
  switch (caught) {
    case SIGILL:  // what -fsanitize=alignment and =bounds are compiled to
      return "a misaligned access, or an index outside of an array";
    case SIGFPE:
      return "a division by zero";
    default:
      return std::string("an access out of bounds at ") + where;
  }
}

}  // namespace cuda_on_cpu
