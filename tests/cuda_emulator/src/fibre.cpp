#include "fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "sanitizers.h"

namespace emulator {

// Only touched pages take memory. A sanitizer's report is printed on the stack of the fibre that erred.
constexpr size_t kStackSize = 256 * 1024;
constexpr size_t kStacksPerSlab = 64;

#ifdef EMULATOR_UCONTEXT

void prepare(Stack& stack, void (*entry)()) {
  getcontext(&stack.context.registers);
  stack.context.registers.uc_stack.ss_sp = const_cast<void*>(stack.context.bottom);
  stack.context.registers.uc_stack.ss_size = stack.context.size - stack.colour;
  stack.context.registers.uc_link = nullptr;
  makecontext(&stack.context.registers, entry, 0);
}

static void exchange(Context& from, Context& to) { swapcontext(&from.registers, &to.registers); }

#else

// swapcontext makes two system calls to save the signal mask; this saves what the ABI asks a callee to keep. The
// control words of SSE and x87 are left alone: no kernel changes them.
extern "C" __attribute__((visibility("hidden"))) void emulator_exchange(void** from, void* to);
asm(R"(
.text
.p2align 4
.hidden emulator_exchange
.globl emulator_exchange
.type emulator_exchange, @function
emulator_exchange:
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
.size emulator_exchange, . - emulator_exchange
)");

void prepare(Stack& stack, void (*entry)()) {
  auto* top = static_cast<char*>(const_cast<void*>(stack.context.bottom)) + stack.context.size - stack.colour;
  auto* words = reinterpret_cast<void**>(top);
  *--words = nullptr;  // the return address of `entry`, where an unwinder stops; it leaves rsp as after a call
  *--words = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--words = nullptr;
  stack.context.pointer = words;
}

static void exchange(Context& from, Context& to) { emulator_exchange(&from.pointer, to.pointer); }

#endif

void switch_to(Context& from, Context& to) {
  start_switch(&from.fake_stack, to.bottom, to.size);
  exchange(from, to);
  finish_switch(from.fake_stack, nullptr, nullptr);
}

void leave_for(Context& to) {
  start_switch(nullptr, to.bottom, to.size);
  Context nowhere;
  exchange(nowhere, to);
  std::abort();
}

void arrived(Context& came_from) {
  if (came_from.size == 0) {
    finish_switch(nullptr, &came_from.bottom, &came_from.size);
  } else {
    finish_switch(nullptr, nullptr, nullptr);
  }
}

Stack& StackPool::take() {
  if (free_.empty()) grow();
  Stack& stack = *free_.back();
  free_.pop_back();
  return stack;
}

// Each stack ends in a page that nothing may touch, so that an overflow faults instead of reaching its neighbour.
static size_t guard_size() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

void StackPool::grow() {
  const size_t guard = guard_size(), each = guard + kStackSize;
  void* slab = mmap(nullptr, kStacksPerSlab * each, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (slab == MAP_FAILED) {
    std::perror("cuda emulator: no memory for stacks");
    std::abort();
  }
  slabs_.push_back(slab);
  for (size_t i = 0; i < kStacksPerSlab; ++i) {
    char* bottom = static_cast<char*>(slab) + i * each;
    if (mprotect(bottom, guard, PROT_NONE) != 0) std::abort();
    auto stack = std::make_unique<Stack>();
    stack->context.bottom = bottom + guard;
    stack->context.size = kStackSize;
    stack->colour = stacks_.size() * 320 % 16384;
    free_.push_back(stack.get());
    stacks_.push_back(std::move(stack));
  }
}

void StackPool::clear() {
  for (void* slab : slabs_) {
    const size_t size = kStacksPerSlab * (guard_size() + kStackSize);
    forget_frames(slab, size);
    munmap(slab, size);
  }
  slabs_.clear();
  stacks_.clear();
  free_.clear();
}

}  // namespace emulator
