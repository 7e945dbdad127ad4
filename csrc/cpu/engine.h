// The CPU's loops, all of them: which elements a thread takes, how they reach contiguous buffers of the type of
// arithmetic, and how sums are kept. A family (tiles/gaussian.h) only says what happens to one tile.
//
// A tile is up to kTile consecutive elements in logical order. A tensor that is contiguous and of the right type
// is read and written in place; anything else passes through a buffer in the L1 cache. Sums are in the type of
// arithmetic within a tile and in double from tile to tile, in order, over chunks that depend on the extent alone: the
// same bits every run and for every number of threads.
#pragma once

#include "cpu/chunks.h"
#include "cpu/picked.h"
#include "cpu/storage.h"
#include "cpu/vec.h"
#include "tiles/traits.h"

namespace genkern::GENKERN_ISA {

inline constexpr int64_t kTile = 512;  // elements; a few such buffers fit the L1 cache

// Consecutive elements [first, first + n) and where they lie in the extent, and the part of it that they belong to.
struct Span {
  const Extent& extent;
  int64_t first, n;
  int64_t row, run, elem, part;

  Span(const Extent& e, int64_t first, int64_t n, int64_t part = 0) : extent(e), first(first), n(n), part(part) {
    row = first / e.event();
    const int64_t within = first - row * e.event();
    run = within / e.length;
    elem = within - run * e.length;
  }

  // f(place in the span, runs of the operand) for the stretches of the span whose runs lie at one distance.
  template <class F>
  void each_runs(const Operand& o, const F& f) const {
    const bool by_row = extent.runs == 1;
    int64_t r = row, k = run, e = elem;
    for (int64_t at = 0; at < n;) {
      const int64_t take = least(extent.length - e, n - at);
      int64_t count = 1;
      if (take == extent.length) count = by_row ? (n - at) / take : least((n - at) / take, extent.runs - k);
      f(at, Runs{r * o.row + k * o.run + e * o.elem, count, take, by_row ? o.row : o.run});
      at += count * take;
      e = 0;
      (by_row ? r : k) += count;
      if (k == extent.runs) k = 0, ++r;
    }
  }
  // f(place in the span, index into the operand, n) for each run: without a division, which a short span would feel.
  template <class F>
  void each_run(const Operand& o, const F& f) const {
    int64_t r = row, k = run, e = elem;
    for (int64_t at = 0; at < n;) {
      const int64_t take = least(extent.length - e, n - at);
      f(at, r * o.row + k * o.run + e * o.elem, take);
      at += take;
      e = 0;
      if (++k == extent.runs) k = 0, ++r;
    }
  }
};

template <class T>
inline constexpr DType kNative = sizeof(T) == 8 ? DType::f64 : DType::f32;

// Whether the span's elements lie one behind the other, and where the first one does.
inline bool side_by_side(const Span& s, const Operand& o) {
  const Extent& e = s.extent;
  const bool dense = (e.runs == 1 || o.run == e.length) && (e.rows == 1 || o.row == e.event());
  return o.elem == 1 && (dense || s.elem + s.n <= e.length);
}
inline int64_t place_of(const Span& s, const Operand& o) { return s.row * o.row + s.run * o.run + s.elem; }

// The span's first element in the operand, or null where it must pass through a buffer: elements of another type
// or apart, a span over several runs that do not follow one another, a last vector that would leave the tensor.
template <class T>
T* in_place(const Span& s, const Operand& o, int64_t shift) {
  if (o.dtype != kNative<T> || s.n % Vec<T>::lanes != 0 || !side_by_side(s, o)) return nullptr;
  return static_cast<T*>(o.data) + shift + place_of(s, o);
}

// A buffer for a tile, with room for the vector that the last element lies in.
template <class T>
struct alignas(64) Buffer {
  T data[kTile + 64];
};

// The sum of f(value) over n values, f(0) = 0: four sums, none of which waits for another.
template <class T, class S, class F>
GK_INLINE double sum_of(const S* p, int64_t n, const F& f) {
  constexpr int64_t lanes = Vec<T>::lanes;
  Vec<T> total(T(0)), second(T(0)), third(T(0)), fourth(T(0));
  const auto at = [&](int64_t i) { return f(load_as<T>(p + i)); };
  int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    total = total + at(i);
    second = second + at(i + lanes);
    third = third + at(i + 2 * lanes);
    fourth = fourth + at(i + 3 * lanes);
  }
  total = (total + second) + (third + fourth);
  for (; i + lanes <= n; i += lanes) total = total + at(i);
  if (i < n) {
    S rest[lanes] = {};
    copy_rest<lanes / 2>(p + i, rest, n - i);
    total = total + f(load_as<T>(rest));
  }
  return sum(total);
}
template <class T>
double sum(const T* p, int64_t n) {
  return sum_of<T>(p, n, [](Vec<T> v) { return v; });
}

// An argument's tile: in place or gathered; shift is an offset of the whole operand (one sample of several).
template <class T>
class Input {
 public:
  Input(const Operand& o) : operand_(o) {}
  explicit operator bool() const { return static_cast<bool>(operand_); }

  void fetch(const Span& s, int64_t shift = 0) {
    if (!operand_) return;
    if (const T* direct = in_place<T>(s, operand_, shift)) {
      at_ = direct;
      return;
    }
    if (operand_.row == 0 && operand_.run == 0 && operand_.elem == 0) {
      if (at_ == buffer_.data && shift == shift_) return;  // one value for all: it is there since the first tile
      shift_ = shift;
      load_runs(operand_, shift, Runs{0, 1, kTile, 0}, buffer_.data);
    } else if (side_by_side(s, operand_)) {
      load_runs(operand_, shift, Runs{place_of(s, operand_), 1, s.n, 0}, buffer_.data);
    } else {
      s.each_runs(operand_, [&](int64_t at, const Runs& runs) { load_runs(operand_, shift, runs, buffer_.data + at); });
    }
    at_ = buffer_.data;
  }
  GK_INLINE Vec<T> operator[](int64_t i) const { return Vec<T>::load(at_ + i); }
  GK_INLINE Vec<T> operator[](Places<T> p) const {
    T some[Vec<T>::lanes];
    for (int i = 0; i < Vec<T>::lanes; ++i) some[i] = at_[p.at[i]];
    return Vec<T>::load(some);
  }
  const T* data() const { return at_; }

  // For sums alone: elements that are stored as another type are read where they lie.
  void point(const Span& s) {
    stored_ = operand_.dtype != kNative<T> && side_by_side(s, operand_);
    stored_ ? void(place_ = place_of(s, operand_)) : fetch(s);
  }
  template <class F>
  double sum_of(int64_t at, int64_t n, const F& f) const {
    double found = 0.0;
    if (!stored_) return GENKERN_ISA::sum_of<T>(at_ + at, n, f);
    with_data(operand_, [&](const auto* data) { found = GENKERN_ISA::sum_of<T>(data + place_ + at, n, f); });
    return found;
  }

 private:
  const Operand& operand_;
  const T* at_ = nullptr;
  int64_t shift_ = 0, place_ = 0;
  bool stored_ = false;
  Buffer<T> buffer_;
};

// A result's tile: in place, or scattered by commit(), or added by it to the sums of a part.
template <class T>
class Output {
 public:
  Output(const Operand& o) : operand_(o) {}
  explicit operator bool() const { return static_cast<bool>(operand_); }

  void prepare(const Span& s, int64_t shift = 0) {
    T* direct = operand_ && !operand_.summed() ? in_place<T>(s, operand_, shift) : nullptr;
    at_ = direct ? direct : buffer_.data;
  }
  GK_INLINE void set(int64_t i, Vec<T> v) { v.store(at_ + i); }
  GK_INLINE void set(Places<T> p, Vec<T> v) {
    T some[Vec<T>::lanes];
    v.store(some);
    for (int i = 0; i < Vec<T>::lanes; ++i) at_[p.at[i]] = some[i];
  }
  const T* data() const { return at_; }
  void commit(const Span& s, int64_t shift = 0) {
    if (!operand_ || at_ != buffer_.data) return;
    if (operand_.summed()) return add(s);
    if (side_by_side(s, operand_))
      return store_runs(operand_, shift, Runs{place_of(s, operand_), 1, s.n, 0}, buffer_.data);
    s.each_runs(operand_, [&](int64_t at, const Runs& runs) { store_runs(operand_, shift, runs, buffer_.data + at); });
  }

 private:
  void add(const Span& s) {
    double* const sums = static_cast<double*>(operand_.data) + s.part * operand_.part;
    const int64_t elem = operand_.elem;
    if (operand_.row == 0 && operand_.run == 0 && elem == 0) {
      *sums += sum(buffer_.data, s.n);
      return;
    }
    s.each_runs(operand_, [&](int64_t at, const Runs& runs) {
      T* from = buffer_.data + at;
      double* to = sums + runs.index;
      const int64_t n = runs.n, count = runs.apart == 0 ? 1 : runs.count;
      if (runs.apart == 0) fold(from, n, runs.count);
      for (int64_t k = 0; k < count; ++k, from += n, to += runs.apart) {
        if (elem == 0) {
          *to += sum(from, n);
          continue;
        }
        int64_t i = 0;
        if (elem == 1)
          for (; i + F64::lanes <= n; i += F64::lanes) (F64::load(to + i) + load_as<double>(from + i)).store(to + i);
        for (; i < n; ++i) to[i * elem] += static_cast<double>(from[i]);
      }
    });
  }
  // Adds up runs of n in the first: the later half goes to the earlier one until a single run is left.
  static void fold(T* x, int64_t n, int64_t count) {
    for (int64_t half; count > 1; count -= half) {
      half = count / 2;
      const T* later = x + (count - half) * n;
      for (int64_t i = 0; i < half * n; ++i) x[i] += later[i];
    }
  }

  const Operand& operand_;
  T* at_ = nullptr;
  Buffer<T> buffer_;
};

// One value an element: written out, or kept for the sum of the tile.
template <class T>
class Values {
 public:
  Values() : out_(elements_) {}
  Values(const Values&) = delete;

  void bind(const Loss& loss) {
    const bool each = loss.reduction == Reduction::none;
    if (each) elements_ = loss.out;
    factor_ = Vec<T>(T(each ? loss.factor : 1.0));
  }
  void prepare(const Span& s) { out_.prepare(s); }
  template <class Place>
  GK_INLINE void set(Place place, Vec<T> v) {
    out_.set(place, v * factor_);
  }
  void commit(const Span& s) { out_.commit(s); }
  const T* data() const { return out_.data(); }

 private:
  Operand elements_;
  Output<T> out_;
  Vec<T> factor_;
};

// A tile's own numbers, one an element.
template <class T>
class Scratch {
 public:
  GK_INLINE Vec<T> operator[](int64_t i) const { return Vec<T>::load(buffer_.data + i); }
  GK_INLINE void set(int64_t i, Vec<T> v) { v.store(buffer_.data + i); }

 private:
  Buffer<T> buffer_;
};

// Several, side by side.
template <class T, class Several>
class Scratches;
template <class T, int n>
class Scratches<T, Numbers<Vec<T>, n>> {
 public:
  GK_INLINE Numbers<Vec<T>, n> operator[](int64_t i) const {
    Numbers<Vec<T>, n> found;
    GK_UNROLL
    for (int k = 0; k < n; ++k) found.of[k] = of_[k][i];
    return found;
  }
  GK_INLINE void set(int64_t i, const Numbers<Vec<T>, n>& v) {
    GK_UNROLL
    for (int k = 0; k < n; ++k) of_[k].set(i, v.of[k]);
  }

 private:
  Scratch<T> of_[n];
};

// Pairs of points, in one dimension, that take about as long as an element with its exponentials.
inline constexpr int64_t kPairs = 8;

// work(begin, end) for parts of 0 ... n - 1, each of which takes as long as `each` elements. What is less than two
// chunks stays on this thread: another takes longer to wake.
template <class Work>
void run(const Parallel& parallel, int64_t n, int64_t each, const Work& work) {
  const int64_t grain = each < 2 * kChunk ? 2 * kChunk / (each < 1 ? 1 : each) : 1;
  const auto call = [](void* w, int64_t begin, int64_t end) { (*static_cast<const Work*>(w))(begin, end); };
  parallel.run(n, grain, call, const_cast<void*>(static_cast<const void*>(&work)));
}

// While it lives, float results of this thread below the normal range, 1.2e-38, are 0. Posteriors and kernels of points
// far apart lie there, and whatever is made of them: each operation would take a hundred cycles (see tail_exp) and be
// nothing beside the sum that it enters. float64 keeps its own.
template <class T>
class FlushToZero {
 public:
  FlushToZero() {}
  FlushToZero(const FlushToZero&) = delete;
  ~FlushToZero() {}
};
#if defined(__x86_64__)
template <>
class FlushToZero<float> {
 public:
  FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | _MM_FLUSH_ZERO_ON); }
  FlushToZero(const FlushToZero&) = delete;
  ~FlushToZero() { _mm_setcsr(before_); }

 private:
  const unsigned before_;
};
#endif

struct KeepsSubnormals {};
template <class Tile, class T>
using TailsOf = std::conditional_t<kFlushes<Tile>, FlushToZero<T>, KeepsSubnormals>;

// f(span) for every tile of a chunk.
template <class F>
void each_tile(const Extent& extent, const Chunks& chunks, int64_t chunk, const F& f) {
  const int64_t last = chunks.last(chunk), part = chunk / extent.chunks_a_part;
  for (int64_t first = chunks.first(chunk); first < last; first += kTile)
    f(Span(extent, first, least(kTile, last - first), part));
}

// work(begin, end) for the chunks of an extent; those of a part are one thread's.
template <class Work>
void run_chunks(const Parallel& parallel, const Extent& extent, const Chunks& chunks, const Work& work) {
  const int64_t each = extent.chunks_a_part, count = chunks.count();
  run(parallel, (count + each - 1) / each, each * kChunk,
      [&](int64_t begin, int64_t end) { work(begin * each, least(end * each, count)); });
}

// Elementwise: each thread makes one `Tile(arguments)`, which is called with every span of its chunks.
template <class Tile, class T, class Arguments>
Status map_tiles(const Arguments& a, const Launch& launch) {
  const Chunks chunks(a.extent);
  if (a.extent.numel() == 0) return nullptr;
  run_chunks(launch.parallel, a.extent, chunks, [&](int64_t begin, int64_t end) {
    [[maybe_unused]] const TailsOf<Tile, T> tails{};
    Tile tile(a);
    for (int64_t chunk = begin; chunk < end; ++chunk)
      each_tile(a.extent, chunks, chunk, [&](const Span& s) { tile(s); });
  });
  return nullptr;
}

// Adds what is left when all chunks are done, in their order.
template <class Put>
void combine(const Extent& extent, const Chunks& chunks, Reduction reduction, const double* workspace, const Put& put) {
  if (reduction == Reduction::total) {
    double total = 0.0;
    for (int64_t i = 0; i < chunks.count(); ++i) total += workspace[i];
    put(0, total);
  } else if (reduction == Reduction::event && chunks.pieces > 1) {
    for (int64_t row = 0; row < extent.rows; ++row) {
      double total = 0.0;
      for (int64_t i = 0; i < chunks.pieces; ++i) total += workspace[row * chunks.pieces + i];
      put(row, total);
    }
  }
}

// The same with kLosses values an element, which the tile sets in its `Values` and which are reduced alike.
template <class Tile, class T, int kLosses, class Arguments>
Status reduce_tiles(const Arguments& a, const Loss* const (&losses)[kLosses], const Launch& launch) {
  const Chunks chunks(a.extent);
  const Reduction reduction = losses[0]->reduction;
  const bool by_row = reduction == Reduction::event && chunks.pieces == 1;
  const auto put = [&](int k, int64_t row, double value) {
    static_cast<T*>(losses[k]->out.data)[row] = static_cast<T>(value * losses[k]->factor);
  };
  const int64_t count = chunks.count();
  if (a.extent.numel() == 0) return nullptr;
  run_chunks(launch.parallel, a.extent, chunks, [&](int64_t begin, int64_t end) {
    [[maybe_unused]] const TailsOf<Tile, T> tails{};
    Tile tile(a);
    Values<T> values[kLosses];
    for (int k = 0; k < kLosses; ++k) values[k].bind(*losses[k]);
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      double partial[kLosses] = {};
      each_tile(a.extent, chunks, chunk, [&](const Span& s) {
        constexpr bool kDirect = kSums<Tile>;
        if (!kDirect || reduction == Reduction::none) {
          for (Values<T>& v : values) v.prepare(s);
          tile(s, values);
          for (Values<T>& v : values) v.commit(s);
          if (reduction == Reduction::none) return;
        } else if constexpr (kDirect) {
          tile.point(s);
        }
        const auto sum_of_part = [&]([[maybe_unused]] int k, int64_t at, int64_t n) {
          if constexpr (kDirect)
            return tile.sum(at, n);
          else
            return sum(values[k].data() + at, n);
        };
        for (int k = 0; k < kLosses; ++k) {
          if (!by_row) {
            partial[k] += sum_of_part(k, 0, s.n);
            continue;
          }
          int64_t row = s.row, left = chunks.event - (s.first - s.row * chunks.event);
          for (int64_t at = 0; at < s.n; ++row, left = chunks.event) {
            const int64_t take = least(left, s.n - at);
            partial[k] += sum_of_part(k, at, take);
            at += take;
            if (take == left) {
              put(k, row, partial[k]);
              partial[k] = 0.0;
            }
          }
        }
      });
      if (by_row || reduction == Reduction::none) continue;
      for (int k = 0; k < kLosses; ++k) launch.workspace[k * count + chunk] = partial[k];
    }
  });
  for (int k = 0; k < kLosses; ++k)
    combine(a.extent, chunks, reduction, launch.workspace + k * count,
            [&](int64_t row, double value) { put(k, row, value); });
  return nullptr;
}

}  // namespace genkern::GENKERN_ISA
