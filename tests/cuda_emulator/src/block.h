// A block: its threads, where each stands, and who runs next.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "emulator/device.h"
#include "fibre.h"

namespace emulator {

// The code of one thread, and a tag that each releases at its end: what comes after the launch acquires it.
struct Task {
  void (*thread)(void*);
  void* arguments;
  char ended = 0;
};

// The state of a fixed-seed generator (Marsaglia 2003, xorshift64).
struct Random {
  uint64_t state = 0x9E3779B97F4A7C15u;
  uint64_t operator()() {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
  }
};

class Block {
 public:
  // Runs all threads of the block to their end; false, and why in `failure`, if they cannot get there.
  bool run(Task& task);
  std::string failure;

  int barrier(Op op, bool predicate);
  uint64_t meet(Op op, unsigned mask, unsigned source, uint64_t value);
  unsigned lanes() const;
  unsigned live_lanes() const;
  unsigned lane() const { return running_ % 32; }
  unsigned size() const { return size_; }
  [[noreturn]] void fail(const char* what);

 private:
  enum class Status : uint8_t { ready, at_barrier, at_meeting, ended };
  struct Thread {
    uint3 index;
    Stack* stack;      // none before it starts
    void* race_fibre;  // ThreadSanitizer's
    Op op;             // that it waits for, and the operands of the call
    unsigned mask, source;
    uint64_t value, result;
  };
  // Addresses that ThreadSanitizer knows a barrier by: two each, used in turn, since a thread that is already at the
  // next barrier must not order those that have yet to leave this one.
  using Tags = std::array<char, 2>;
  struct Warp {
    unsigned waiting = 0;
    std::array<uint8_t, 32> turn{};  // by the first lane of the mask
    std::array<Tags, 32> tags;
  };
  // New for each block, so that one block's barriers do not order another.
  struct Barriers {
    char start;
    Tags block;
    std::array<Warp, 32> warps;
  };
  using Order = std::vector<uint16_t>;

  void reset();
  void reset_race_fibres();
  const Order& next_order();
  int pick();
  void suspend();
  void resume(Context& from, int next);
  void enter(int next);
  void start(Thread& thread);
  static void worker();
  std::string describe(unsigned thread) const;
  std::string deadlock() const;

  Task* task_ = nullptr;
  unsigned size_ = 0;
  dim3 dimensions_{0, 0, 0};
  unsigned running_ = 0, ended_ = 0;
  const char* fault_ = nullptr;
  Context main_;
  void* main_race_fibre_ = nullptr;
  StackPool stacks_;
  std::vector<Thread> threads_;
  std::vector<Status> status_;
  std::unique_ptr<Barriers> barriers_ = std::make_unique<Barriers>();
  // ThreadSanitizer takes long to make a fibre. Blocks take these sets in turn, so only every fourth is ordered after
  // another.
  std::array<std::vector<void*>, 4> race_fibres_;
  unsigned turn_ = 0;

  // The round: each ready thread is resumed once, in this order.
  const Order* order_ = nullptr;
  unsigned cursor_ = 0;
  bool progress_ = false;
  std::array<std::vector<Order>, 1025> orders_;  // by number of threads
  Random random_;

  std::array<unsigned, 4> arrived_{}, holds_{};  // by kind of barrier
  unsigned generation_ = 0;
  std::array<int, 2> barrier_result_{};
};

// One: launches follow one another.
extern Block block;

}  // namespace emulator
