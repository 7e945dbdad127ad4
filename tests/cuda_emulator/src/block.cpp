#include "block.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <numeric>

#include "sanitizers.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {

void* shared_memory;
Block block;

int block_barrier(Op op, bool predicate) { return block.barrier(op, predicate); }
uint64_t warp_meeting(Op op, unsigned mask, unsigned source, uint64_t value) {
  return block.meet(op, mask, source, value);
}
unsigned warp_lanes() { return block.lanes(); }
unsigned live_lanes() { return block.live_lanes(); }
unsigned lane() { return block.lane(); }
unsigned threads_in_block() { return block.size(); }
void fail(const char* what) { block.fail(what); }

static const char* name(Op op) {
  static constexpr const char* names[] = {
      "__syncthreads",  "__syncthreads_count", "__syncthreads_and", "__syncthreads_or", "__syncwarp", "__shfl_sync",
      "__shfl_up_sync", "__shfl_down_sync",    "__shfl_xor_sync",   "__ballot_sync",    "__any_sync", "__all_sync"};
  return names[static_cast<int>(op)];
}

static std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

bool Block::run(Task& task) {
  task_ = &task;
  reset();
  resume(main_, pick());
  // Back: all have ended, or none can go on, or one has failed.
  failure.clear();
  if (fault_ != nullptr) {
    failure = "thread " + text(threadIdx) + " of block " + text(blockIdx) + " " + fault_;
  } else if (ended_ < size_) {
    failure = deadlock();
  }
  // Fresh stacks after a failure, which left frames on them; and under ThreadSanitizer for every block, since it
  // would take the next one's use of them for a race.
  if (kThreadSanitizer || !failure.empty()) stacks_.clear();
  if (kThreadSanitizer && !failure.empty()) {
    for (auto& set : race_fibres_) {
      for (void* fibre : set) destroy_race_fibre(fibre);
      set.clear();
    }
  }
  return failure.empty();
}

void Block::reset() {
  const dim3 d = blockDim;
  if (d.x != dimensions_.x || d.y != dimensions_.y || d.z != dimensions_.z) {
    dimensions_ = d;
    size_ = d.x * d.y * d.z;
    threads_.assign(size_, {});
    status_.resize(size_);
    for (unsigned i = 0; i < size_; ++i) threads_[i].index = {i % d.x, i / d.x % d.y, i / d.x / d.y};
  }
  std::fill(status_.begin(), status_.end(), Status::ready);
  for (Warp& warp : barriers_->warps) warp.waiting = 0;
  fault_ = nullptr;
  ended_ = 0;
  arrived_ = holds_ = {};
  main_ = {};  // launches may come from several OS threads
  for (Thread& t : threads_) t.stack = nullptr;
  if (kThreadSanitizer) reset_race_fibres();
  order_ = &next_order();
  cursor_ = 0;
  progress_ = false;
}

void Block::reset_race_fibres() {
  barriers_ = std::make_unique<Barriers>();
  main_race_fibre_ = current_race_fibre();
  std::vector<void*>& set = race_fibres_[turn_++ % race_fibres_.size()];
  while (set.size() < size_) set.push_back(race_fibre());
  for (unsigned i = 0; i < size_; ++i) {
    threads_[i].race_fibre = set[i];
    start(threads_[i]);
  }
  release(&barriers_->start);
}

// Forward, backward, or one of a few permutations: what holds only in the order of a warp in step breaks in most.
const Block::Order& Block::next_order() {
  constexpr unsigned kinds = 8;
  std::vector<Order>& orders = orders_[size_];
  if (orders.empty()) {
    orders.assign(kinds, Order(size_));
    for (Order& order : orders) std::iota(order.begin(), order.end(), uint16_t{0});
    std::reverse(orders[1].begin(), orders[1].end());
    for (unsigned k = 2; k < kinds; ++k) {
      for (unsigned i = size_; i > 1; --i) std::swap(orders[k][i - 1], orders[k][random_() % i]);
    }
  }
  return orders[(random_() >> 32) % kinds];
}

// The next thread that can run; -1 if none can.
int Block::pick() {
  for (;;) {
    while (cursor_ < size_) {
      const unsigned next = (*order_)[cursor_++];
      if (status_[next] == Status::ready) {
        progress_ = true;
        return static_cast<int>(next);
      }
    }
    if (!progress_) return -1;
    progress_ = false;
    cursor_ = 0;
    order_ = &next_order();
  }
}

void Block::start(Thread& thread) {
  thread.stack = &stacks_.take();
  prepare(*thread.stack, worker);
}

void Block::enter(int next) {
  running_ = static_cast<unsigned>(next);
  threadIdx = threads_[running_].index;
  if (kThreadSanitizer) switch_race_fibre(threads_[running_].race_fibre);
}

void Block::resume(Context& from, int next) {
  if (next < 0) {
    if (kThreadSanitizer) switch_race_fibre(main_race_fibre_);
    switch_to(from, main_);
    return;
  }
  Thread& t = threads_[static_cast<unsigned>(next)];
  if (t.stack == nullptr) start(t);
  enter(next);
  switch_to(from, t.stack->context);
}

void Block::suspend() { resume(threads_[running_].stack->context, pick()); }

// Runs a thread to its end, and on the same stack every further one that has not begun: a kernel without barriers
// never switches. Under ThreadSanitizer each has a stack of its own, lest they race for it.
void Block::worker() {
  Block& b = block;
  arrived(b.main_);
  for (;;) {
    acquire(&b.barriers_->start);
    b.task_->thread(b.task_->arguments);
    release(&b.task_->ended);
    Thread& me = b.threads_[b.running_];
    b.status_[b.running_] = Status::ended;
    ++b.ended_;
    const int next = b.pick();
    if (!kThreadSanitizer && next >= 0 && b.threads_[static_cast<unsigned>(next)].stack == nullptr) {
      b.threads_[static_cast<unsigned>(next)].stack = me.stack;
      me.stack = nullptr;
      b.enter(next);
      continue;
    }
    if (kThreadSanitizer) {
      b.resume(me.stack->context, next);
    } else {
      b.stacks_.give_back(*me.stack);  // taken again only after it has been left
      if (next >= 0) b.enter(next);
      leave_for(next < 0 ? b.main_ : b.threads_[static_cast<unsigned>(next)].stack->context);
    }
  }
}

int Block::barrier(Op op, bool predicate) {
  const unsigned kind = static_cast<unsigned>(op), mine = generation_ & 1;
  release(&barriers_->block[mine]);
  holds_[kind] += predicate;
  if (++arrived_[kind] == size_) {
    barrier_result_[mine] = static_cast<int>(holds_[kind]);
    arrived_[kind] = holds_[kind] = 0;
    ++generation_;
    for (Status& s : status_) s = Status::ready;
  } else {
    threads_[running_].op = op;
    status_[running_] = Status::at_barrier;
    suspend();
  }
  acquire(&barriers_->block[mine]);
  return barrier_result_[mine];
}

uint64_t Block::meet(Op op, unsigned mask, unsigned source, uint64_t value) {
  const unsigned self = running_, lane = self % 32, first = self - lane;
  Warp& warp = barriers_->warps[self / 32];
  mask &= lanes();
  if ((mask >> lane & 1) == 0) fail("calls a warp operation with a mask that does not name it");
  Thread& me = threads_[self];
  me.op = op, me.mask = mask, me.source = source, me.value = value;
  // Of all operations on a warp only __syncwarp orders memory (CUDA C++ Programming Guide, warp shuffle functions).
  const unsigned slot = static_cast<unsigned>(__builtin_ctz(mask)), turn = warp.turn[slot];
  if (op == Op::syncwarp) release(&warp.tags[slot][turn]);

  warp.waiting |= 1u << lane;
  bool complete = (warp.waiting & mask) == mask;
  for (unsigned rest = mask; complete && rest != 0; rest &= rest - 1) {
    const Thread& t = threads_[first + static_cast<unsigned>(__builtin_ctz(rest))];
    complete = t.op == op && t.mask == mask;
  }
  if (!complete) {
    status_[self] = Status::at_meeting;
    suspend();
  } else {
    // Now, for all: who goes on may call again before another has looked.
    uint64_t votes = 0;
    for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
      const unsigned l = static_cast<unsigned>(__builtin_ctz(rest));
      Thread& t = threads_[first + l];
      votes |= static_cast<uint64_t>(t.value != 0) << l;
      t.result = (mask >> t.source & 1) != 0 ? threads_[first + t.source].value : ~uint64_t{0};
      status_[first + l] = Status::ready;
    }
    if (op >= Op::ballot) {
      for (unsigned rest = mask; rest != 0; rest &= rest - 1)
        threads_[first + static_cast<unsigned>(__builtin_ctz(rest))].result = votes;
    }
    warp.waiting &= ~mask;
    if (op == Op::syncwarp) warp.turn[slot] ^= 1;
  }
  if (op == Op::syncwarp) acquire(&warp.tags[slot][turn]);
  return me.result;
}

unsigned Block::lanes() const {
  const unsigned after = size_ - running_ / 32 * 32;
  return after >= 32 ? ~0u : (1u << after) - 1;
}

unsigned Block::live_lanes() const {
  unsigned live = 0;
  const unsigned first = running_ / 32 * 32;
  for (unsigned l = 0; l < 32 && first + l < size_; ++l) live |= (status_[first + l] != Status::ended ? 1u : 0u) << l;
  return live;
}

void Block::fail(const char* what) {
  fault_ = what;
  resume(threads_[running_].stack->context, -1);
  __builtin_unreachable();  // run() drops the stacks
}

std::string Block::describe(unsigned thread) const {
  const Thread& t = threads_[thread];
  if (status_[thread] == Status::ended) return "ended";
  if (status_[thread] == Status::at_barrier) return std::string("waits at ") + name(t.op);
  char mask[16];
  std::snprintf(mask, sizeof mask, "0x%08x", t.mask);
  return std::string("waits at ") + name(t.op) + " with mask " + mask;
}

std::string Block::deadlock() const {
  std::map<std::string, std::vector<unsigned>> groups;
  for (unsigned i = 0; i < size_; ++i) groups[describe(i)].push_back(i);
  std::string result = "block " + text(blockIdx) + " can never go on:";
  for (const auto& [where, threads] : groups) {
    result += "\n  thread " + text(threads_[threads.front()].index);
    if (threads.size() > 1) result += " and " + std::to_string(threads.size() - 1) + " more";
    result += (threads.size() > 1 && where != "ended" ? " wait" + where.substr(5) : " " + where);
  }
  return result;
}

}  // namespace emulator
