// Elements with classes on a GPU, as the tiles of the discrete family see them. A thread goes through the classes of
// one element: where neighbouring elements lie side by side, so do the accesses of neighbouring threads; where classes
// do, a thread's lines wait in the L1 cache.
#pragma once

#include "cuda/engine.cuh"
#include "math/discrete.h"

namespace genkern::cuda {

// The place of an element's first class.
template <class Span>
GK_DEVICE int64_t place(const Span& s, const Operand& o) {
  return s.run_in(o) + s.elem * o.elem;
}

template <class T, class S, class Span>
class ClassInput {
 public:
  GK_DEVICE ClassInput(const ClassOperand& o, const Classes&) : operand_(o) {}
  GK_DEVICE explicit operator bool() const { return static_cast<bool>(operand_); }
  GK_DEVICE void seek(const Span& s) { first_ = place(s, operand_); }
  GK_DEVICE T operator[](int64_t k) const {
    const int64_t at = first_ + k * operand_.each;
    if constexpr (std::is_same_v<S, Any>) {
      T value;
      with_storage<T>(operand_.dtype, [&](auto type) {
        value = static_cast<T>(widen(static_cast<const decltype(type)*>(operand_.data)[at]));
      });
      return value;
    } else {
      return static_cast<T>(widen(static_cast<const S*>(operand_.data)[at]));
    }
  }

 private:
  const ClassOperand& operand_;
  int64_t first_ = 0;
};

template <class T, class S, class Span>
class ClassOutput {
 public:
  GK_DEVICE ClassOutput(const ClassOperand& o, const Classes&) : operand_(o) {}
  GK_DEVICE void seek(const Span& s) { first_ = place(s, operand_); }
  GK_DEVICE void set(int64_t k, T value) {
    if (!operand_) return;
    const int64_t at = first_ + k * operand_.each;
    if constexpr (std::is_same_v<S, Any>) {
      with_storage<T>(operand_.dtype, [&](auto type) {
        static_cast<decltype(type)*>(operand_.data)[at] = narrow<decltype(type)>(value);
      });
    } else {
      static_cast<S*>(operand_.data)[at] = narrow<S>(value);
    }
  }
  GK_DEVICE void commit(const Span&) {}

 private:
  const ClassOperand& operand_;
  int64_t first_ = 0;
};

// A thread has no room for a number a class.
template <class T>
class ClassScratch {
 public:
  GK_DEVICE explicit ClassScratch(const Classes&, bool = true) {}
  GK_DEVICE T set(int64_t, T value) { return value; }
  template <class Compute>
  GK_DEVICE T get(int64_t, const Compute& compute) const {
    return compute();
  }
};

// Gumbel noise of an element: the caller's, or made from the key each time it is asked for.
template <class T, class S, class Span>
class ClassNoise {
 public:
  GK_DEVICE explicit ClassNoise(const GumbelSoftmax& a)
      : a_(a), given_(a.eps, a), key_(a.eps ? Key{} : block_key(a.noise.key)) {}
  GK_DEVICE void seek(const Span& s) {
    given_.seek(s);
    const int64_t outer = s.first / a_.inner;
    first_ = a_.noise.element_offset + static_cast<uint64_t>(s.first + outer * (a_.classes - 1) * a_.inner);
  }
  GK_DEVICE T operator[](int64_t k) const {
    if (given_) return given_[k];
    T u[1];
    stream<Uniform>(key_, first_ + static_cast<uint64_t>(k * a_.inner), u);
    return gumbel(u[0]);
  }

 private:
  const GumbelSoftmax& a_;
  ClassInput<T, S, Span> given_;
  Key key_;
  uint64_t first_ = 0;
};

// The engine of tiles with classes: one element a thread.
template <class U, class S>
struct ClassEngine : Engine<U, S, 1> {
  using Span = typename Engine<U, S, 1>::Span;
  using Block = Span;
  using ClassInput = cuda::ClassInput<U, S, Span>;
  using ClassOutput = cuda::ClassOutput<U, S, Span>;
  using ClassScratch = cuda::ClassScratch<U>;
  using ClassNoise = cuda::ClassNoise<U, S, Span>;
  static GK_DEVICE const Block& block(const Span& s, int64_t) { return s; }
};

}  // namespace genkern::cuda
