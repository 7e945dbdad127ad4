// Stacks, and the switch from one to another.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#if !defined(__x86_64__) || defined(EMULATOR_UCONTEXT)
#undef EMULATOR_UCONTEXT
#define EMULATOR_UCONTEXT 1
#include <ucontext.h>
#endif

namespace emulator {

// Where the code on a stack stopped; `bottom` and `size` are the stack's, for AddressSanitizer.
struct Context {
#ifdef EMULATOR_UCONTEXT
  ucontext_t registers;
#else
  void* pointer = nullptr;
#endif
  const void* bottom = nullptr;
  size_t size = 0;
  void* fake_stack = nullptr;
};

struct Stack {
  Context context;
  size_t colour;  // bytes left free at the top: stacks that began at equal offsets would share a few cache sets
};

// Makes `stack` ready to run `entry`, which must not return.
void prepare(Stack& stack, void (*entry)());

// Goes on at `to`; returns when something switches back to `from`. `leave` does not: its stack may be used anew.
void switch_to(Context& from, Context& to);
[[noreturn]] void leave_for(Context& to);

// The first thing an entry does. The context that came here learns its own bounds if it has none.
void arrived(Context& came_from);

class StackPool {
 public:
  ~StackPool() { clear(); }
  Stack& take();
  void give_back(Stack& stack) { free_.push_back(&stack); }
  void clear();  // all, in use or not

 private:
  void grow();
  std::vector<void*> slabs_;
  std::vector<std::unique_ptr<Stack>> stacks_;
  std::vector<Stack*> free_;
};

}  // namespace emulator
