// The GPU's loops, all of them: two kernels, map and reduce, that call a family's tile (tiles/gaussian.h) with one
// group after another. The engine owns indexing, storage types and sums; plan.h says which thread takes what.
//
// Sums are in the type of arithmetic within a group and in double from there on, in an order that depends on the extent
// alone. A sum over several blocks is finished in the same launch, by the last block to come.
#pragma once

#include "cuda/noise.cuh"
#include "cuda/plan.h"
#include "tiles/traits.h"

namespace genkern::cuda {

// An argument's group. S: the storage type, or Any.
template <class T, class S, class Span>
class Input {
 public:
  GK_DEVICE Input(const Operand& o) : operand_(o) {}
  GK_DEVICE explicit operator bool() const { return static_cast<bool>(operand_); }
  GK_DEVICE void fetch(const Span& s, int64_t shift = 0) {
    if (operand_) load<S>(operand_, shift, s, values_);
  }
  GK_DEVICE T operator[](int64_t i) const { return values_[i]; }

 private:
  const Operand& operand_;
  T values_[Span::n];
};

template <class T, class S, class Span>
class Output {
 public:
  GK_DEVICE Output(const Operand& o) : operand_(o) {}
  GK_DEVICE explicit operator bool() const { return static_cast<bool>(operand_); }
  GK_DEVICE void prepare(const Span&, int64_t = 0) {}
  GK_DEVICE void set(int64_t i, T v) { values_[i] = v; }
  GK_DEVICE void commit(const Span& s, int64_t shift = 0) {
    if (operand_) store<S>(operand_, shift, s, values_);
  }

 private:
  const Operand& operand_;
  T values_[Span::n];
};

// One value an element: written out, or summed.
template <class T, class S, class Span>
class Values {
 public:
  GK_DEVICE void set(int64_t i, T v) { values_[i] = v; }
  GK_DEVICE void write(const Loss& loss, const Span& s) {
    GK_UNROLL
    for (int k = 0; k < Span::n; ++k) values_[k] *= static_cast<T>(loss.factor);
    store<S>(loss.out, 0, s, values_);
  }
  GK_DEVICE double sum(const Span& s) const {
    T total = T(0);
    if (s.whole()) {
      GK_UNROLL
      for (int k = 0; k < Span::n; ++k) total += values_[k];
    } else {
      GK_UNROLL
      for (int k = 0; k < Span::n; ++k) total += s.has(k) ? values_[k] : T(0);
    }
    return static_cast<double>(total);
  }

 private:
  T values_[Span::n];
};

template <class T, int V>
class Scratch {
 public:
  GK_DEVICE T operator[](int64_t i) const { return values_[i]; }
  GK_DEVICE void set(int64_t i, T v) { values_[i] = v; }

 private:
  T values_[V];
};

// The engine of a tile. S is the storage type of its tensors, whose elements lie side by side; Any leaves
// type and stride to run time. kWidth is the number of elements of a group: 16 bytes of them, or 8 bytes of arithmetic
// with Any, whose kernels have many branches for each.
template <class U, class S, int kWidth = std::is_same_v<S, Any> ? 8 / sizeof(U) : 16 / sizeof(S)>
struct Engine {
  using T = U;
  using F = U;
  static constexpr bool kAny = std::is_same_v<S, Any>;
  static constexpr int lanes = 1;
  static constexpr bool kOneCopy = true;  // branches cost less than code
  static constexpr bool kPlain = !kAny;   // kernels for one storage type are for plain arguments
  static constexpr int width = kWidth;
  using LossStorage = std::conditional_t<kAny, Any, U>;
  using Span = cuda::Span<width, kAny>;
  using Input = cuda::Input<U, S, Span>;
  using CountInput = cuda::Input<U, std::conditional_t<kAny, AnyNumber, S>, Span>;
  using LossInput = cuda::Input<U, LossStorage, Span>;
  using Output = cuda::Output<U, S, Span>;
  using Eps = cuda::Eps<U, S, Span>;
  using RowUniform = cuda::RowUniform<U, Span>;
  using Values = cuda::Values<U, LossStorage, Span>;
  using Scratch = cuda::Scratch<U, width>;

  // The part of a span that is among the first n elements; v for these, 0 for others.
  static GK_DEVICE Span part(const Span& s, int64_t n) {
    Span p = s;
    const int64_t left = n - s.first;
    if (left < p.to) p.to = left > p.from ? static_cast<int>(left) : p.from;
    return p;
  }
  static GK_DEVICE U only(const Span& part, int64_t i, U v) { return part.has(static_cast<int>(i)) ? v : U(0); }
  // set(i, what the steps make) for all elements; numbers(i, f) is f(arguments...).
  template <class Arguments, class Set, class... Steps>
  static GK_DEVICE void in_steps(const Span& s, const Arguments& numbers, const Set& set, const Steps&... steps) {
    GK_TILE for (int64_t i = 0; i < s.n; ++i) {
      const auto arguments = [&](const auto& f) { return numbers(i, f); };
      set(i, all_steps<U>(arguments, Before(), steps...));
    }
  }
  // f(place, numbers of the inputs) for those where x is not 0: threads side by side would take a shorter way besides.
  template <class X, class Easy, class Few, class Call, class... Inputs>
  static GK_DEVICE void each_nonzero(const Span&, const X& x, const Easy&, const Few&, const Call& f,
                                     const Inputs&... in) {
    GK_UNROLL
    for (int i = 0; i < width; ++i)
      if (!(x[i] == U(0))) f(i, in[i]...);
  }
};

// The engine with groups of no more elements than the tile takes at once.
template <template <class> class Tile, class E>
struct Fitted {
  using type = E;
};
template <template <class> class Tile, class U, class S, int kWidth>
struct Fitted<Tile, Engine<U, S, kWidth>> {
  static constexpr int kMost = kMostElements<Tile<Engine<U, S, kWidth>>>;
  using type = Engine<U, S, (kWidth < kMost ? kWidth : kMost)>;
};

// f(span) for each group of an item that falls to this thread of its team. Places are counted from `phase` elements
// before the first one of all: there groups begin at multiples of V.
template <int V, bool kAny, class F>
GK_DEVICE void each_group(const Plan& plan, typename Span<V, kAny>::Index item, const F& f) {
  using Index = typename Span<V, kAny>::Index;
  const Extent& e = plan.extent;
  const Index pieces = static_cast<Index>(plan.pieces);
  const Index row = pieces == 1 ? item : e.rows == 1 ? 0 : item / pieces;
  const int64_t first = (item - row * pieces) * plan.piece;
  const Index last = static_cast<Index>(plan.groups - first < plan.piece ? plan.groups - first : plan.piece);
  Span<V, kAny> s;
  s.row = row;
  s.run = 0;
  int64_t run_first = row * e.event(), head = (run_first + plan.phase) % V;
  for (Index group = threadIdx.x & (plan.team() - 1); group < last; group += plan.team()) {
    int64_t in_run = first + group;
    if (kAny && e.runs != 1) {
      s.run = static_cast<Index>(in_run / plan.groups_a_run);
      in_run -= s.run * plan.groups_a_run;
      run_first = row * e.event() + s.run * e.length;
      head = (run_first + plan.phase) % V;
    }
    s.elem = in_run * V - head;
    s.first = run_first + s.elem;
    s.from = s.elem < 0 ? static_cast<int>(-s.elem) : 0;
    s.to = e.length - s.elem < V ? static_cast<int>(e.length - s.elem) : V;
    if (s.from < s.to) f(s);
  }
}

// Items of this thread's team. Threads that add up with one another go through the loop together, so a warp goes on
// while its first team has an item.
template <class Index>
struct Items {
  Index item, step, items;
  int ahead;  // teams of this warp before this one

  GK_DEVICE explicit Items(const Plan& plan)
      : item(static_cast<Index>((static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) >> plan.team_bits)),
        step(static_cast<Index>(static_cast<int64_t>(gridDim.x) * kThreads >> plan.team_bits)),
        items(static_cast<Index>(plan.items())),
        ahead(plan.team() < kWarp ? (threadIdx.x % kWarp) >> plan.team_bits : 0) {}
  GK_DEVICE bool any() const { return item - ahead < items; }
  GK_DEVICE bool mine() const { return item < items; }
};

// Blocks that shall fit a multiprocessor at once, which bounds the registers of a thread; left to itself the compiler
// aims higher and spills. (With Any, float and double in every branch, no more than one may fit.)
template <class E>
inline constexpr int kResident = E::kAny ? 1 : 2;

template <class E, class Tile, class Arguments>
__global__ void __launch_bounds__(kThreads, kResident<E>)
    map_kernel(const __grid_constant__ Arguments a, const __grid_constant__ Plan plan) {
  Tile tile(a);
  for (Items<typename E::Span::Index> i(plan); i.mine(); i.item += i.step)
    each_group<E::width, E::kAny>(plan, i.item, [&](const typename E::Span& s) { tile(s); });
}

inline constexpr unsigned kAllLanes = 0xFFFFFFFFu;

// The sum over each `width` neighbouring lanes, in the first of them.
GK_DEVICE double lane_sum(double value, int width) {
  for (int offset = width / 2; offset > 0; offset /= 2) value += __shfl_down_sync(kAllLanes, value, offset, width);
  return value;
}

// The sum over a block, in thread 0.
GK_DEVICE double block_sum(double value) {
  __shared__ double warps[kThreads / kWarp];
  value = lane_sum(value, kWarp);
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  if (threadIdx.x >= kWarp) return 0.0;
  return lane_sum(threadIdx.x < kThreads / kWarp ? warps[threadIdx.x] : 0.0, kThreads / kWarp);
}

// Whether this block is the last of the launch to come here; then it sees what thread 0 of each of them wrote before.
GK_DEVICE bool last_block(unsigned* ticket) {
  __shared__ bool last;
  if (threadIdx.x == 0) {
    __threadfence();
    last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    __threadfence();
  }
  __syncthreads();
  return last;
}

template <int kLosses>
struct Losses {
  Loss loss[kLosses];
};

// The place where the parts of a sum over several blocks meet.
struct Meeting {
  double* parts;
  unsigned* ticket;
};

template <class E, class Tile, int kLosses, class Arguments>
__global__ void __launch_bounds__(kThreads, kResident<E>)
    reduce_kernel(const __grid_constant__ Arguments a, const __grid_constant__ Plan plan,
                  const __grid_constant__ Losses<kLosses> losses, const __grid_constant__ Meeting meeting) {
  using T = typename E::T;
  const Reduction reduction = losses.loss[0].reduction;
  const auto put = [&](int k, int64_t row, double sum) {
    static_cast<T*>(losses.loss[k].out.data)[row] = static_cast<T>(sum * losses.loss[k].factor);
  };
  Tile tile(a);
  typename E::Values values[kLosses];
  double sums[kLosses] = {};
  for (Items<typename E::Span::Index> i(plan); i.any(); i.item += i.step) {
    if (i.mine()) {
      each_group<E::width, E::kAny>(plan, i.item, [&](const typename E::Span& s) {
        tile(s, values);
        GK_UNROLL
        for (int k = 0; k < kLosses; ++k) {
          if (reduction == Reduction::none) {
            values[k].write(losses.loss[k], s);
          } else {
            sums[k] += values[k].sum(s);
          }
        }
      });
    }
    if (reduction != Reduction::event) continue;
    GK_UNROLL
    for (int k = 0; k < kLosses; ++k) {
      const double sum = plan.team() == kThreads ? block_sum(sums[k]) : lane_sum(sums[k], plan.team());
      sums[k] = 0.0;
      if ((threadIdx.x & (plan.team() - 1)) != 0 || !i.mine()) continue;
      if (plan.pieces == 1) {
        put(k, i.item, sum);
      } else {
        meeting.parts[k * static_cast<int64_t>(i.items) + i.item] = sum;
      }
    }
  }
  if (reduction == Reduction::none || (reduction == Reduction::event && plan.pieces == 1)) return;

  if (reduction == Reduction::total) {
    GK_UNROLL
    for (int k = 0; k < kLosses; ++k) {
      const double sum = block_sum(sums[k]);
      if (threadIdx.x == 0) meeting.parts[k * static_cast<int64_t>(gridDim.x) + blockIdx.x] = sum;
    }
  }
  if (!last_block(meeting.ticket)) return;
  const volatile double* parts = meeting.parts;
  GK_UNROLL
  for (int k = 0; k < kLosses; ++k) {
    if (reduction == Reduction::total) {
      double sum = 0.0;
      for (unsigned b = threadIdx.x; b < gridDim.x; b += kThreads)
        sum += parts[k * static_cast<int64_t>(gridDim.x) + b];
      sum = block_sum(sum);
      if (threadIdx.x == 0) put(k, 0, sum);
    } else {
      for (int64_t row = threadIdx.x / kWarp; row < plan.extent.rows; row += kThreads / kWarp) {
        double sum = 0.0;
        for (int64_t piece = threadIdx.x % kWarp; piece < plan.pieces; piece += kWarp)
          sum += parts[(k * plan.extent.rows + row) * plan.pieces + piece];
        sum = lane_sum(sum, kWarp);
        if (threadIdx.x % kWarp == 0) put(k, row, sum);
      }
    }
  }
  if (threadIdx.x == 0) *meeting.ticket = 0;
}

}  // namespace genkern::cuda
