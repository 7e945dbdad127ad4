// Elements with classes on the CPU, as the tiles of the discrete family see them.
//
// A block is a vector of elements, and a formula goes through its classes with the elements side by side. Where they
// lie so in memory, classes are read in place; else the block's K vectors pass through a buffer, transposed on the way.
#pragma once

#include "cpu/noise.h"
#include "math/discrete.h"

namespace genkern::GENKERN_ISA {

// K vectors, and room for noise that begins in the middle of a block of it.
template <class T>
class ClassBuffer {
 public:
  explicit ClassBuffer(int64_t size)
      : data(size ? new T[(size < kSquare ? kSquare : size) + kNoiseBlock<T> + 64]() : nullptr) {}
  ClassBuffer(const ClassBuffer&) = delete;
  ~ClassBuffer() { delete[] data; }
  T* const data;

 private:
  static constexpr int64_t kSquare = int64_t{Vec<T>::lanes} * Vec<T>::lanes;  // which few classes fill in part
};

// A square of rows, each as long as a vector of T, becomes its columns.
template <class T, class S, class D>
[[gnu::noinline]] void turn(const S* from, int64_t from_row, D* to, int64_t to_row) {
  constexpr int64_t lanes = Vec<T>::lanes;
  typename Vec<T>::Native square[lanes];
  GK_UNROLL
  for (int i = 0; i < lanes; ++i) square[i] = load_as<T>(from + i * from_row).v;
  transpose<T>(square);
  GK_UNROLL
  for (int i = 0; i < lanes; ++i) store(Vec<T>(square[i]), to + i * to_row);
}

// Whether a block has fewer classes than lanes, but not so few that a vector of them would be mostly empty, and its
// rows follow one another.
template <class T>
GK_INLINE bool few_in_a_run(const ClassOperand& o, int64_t n, int64_t classes) {
  return n == Vec<T>::lanes && classes < n && 4 * classes >= n && o.each == 1 && o.elem == classes;
}

// These rows from one distance to another. A vector reaches into the row behind, which comes after it; the last rows,
// behind which the block ends, go by themselves.
template <class T, class S, class D>
void move_few(const S* from, int64_t from_row, D* to, int64_t to_row, int64_t classes) {
  constexpr int64_t lanes = Vec<T>::lanes;
  int64_t j = 0;
  for (; j * classes + lanes <= lanes * classes; ++j) store(load_as<T>(from + j * from_row), to + j * to_row);
  for (; j < lanes; ++j) copy<T>(from + j * from_row, to + j * to_row, classes);
}

// The classes of whole squares, the last of which may overlap the one before: f(first class). How many are done.
template <class T, class F>
GK_INLINE int64_t each_square(const ClassOperand& o, int64_t n, int64_t classes, const F& f) {
  constexpr int64_t lanes = Vec<T>::lanes;
  if (n != lanes || o.each != 1 || classes < lanes) return 0;
  for (int64_t k = 0; k < classes; k += lanes) f(least(k, classes - lanes));
  return classes;
}

// Every element and class of a block: to[class * lanes + place]. Where an element's classes lie side by side, squares
// of elements and classes are turned.
template <class T, class S>
void load_classes(const Span& b, const ClassOperand& o, int64_t classes, const S* data, T* to) {
  constexpr int64_t lanes = Vec<T>::lanes;
  b.each_run(o, [&](int64_t at, int64_t index, int64_t n) {
    const S* from = data + index;
    if (few_in_a_run<T>(o, n, classes)) {
      alignas(64) T rows[lanes * lanes];
      move_few<T>(from, classes, rows, lanes, classes);
      turn<T>(rows, lanes, to, lanes);
      return;
    }
    const int64_t done =
        each_square<T>(o, n, classes, [&](int64_t k) { turn<T>(from + k, o.elem, to + k * lanes, lanes); });
    for (int64_t k = done; k < classes; ++k) gather(from + k * o.each, o.elem, to + k * lanes + at, n);
  });
}

template <class T, class D>
void store_classes(const Span& b, const ClassOperand& o, int64_t classes, const T* from, D* data) {
  constexpr int64_t lanes = Vec<T>::lanes;
  b.each_run(o, [&](int64_t at, int64_t index, int64_t n) {
    D* to = data + index;
    if (few_in_a_run<T>(o, n, classes)) {
      alignas(64) T rows[lanes * lanes];
      turn<T>(from, lanes, rows, lanes);
      move_few<T>(rows, lanes, to, classes, classes);
      return;
    }
    const int64_t done =
        each_square<T>(o, n, classes, [&](int64_t k) { turn<T>(from + k * lanes, lanes, to + k, o.elem); });
    for (int64_t k = done; k < classes; ++k) scatter(from + k * lanes + at, to + k * o.each, o.elem, n);
  });
}

template <class T>
class ClassInput {
 public:
  ClassInput(const ClassOperand& o, const Classes& a)
      : operand_(o), classes_(a.classes), buffer_(o ? a.classes * Vec<T>::lanes : 0) {}
  explicit operator bool() const { return static_cast<bool>(operand_); }

  void seek(const Span& b) {
    if (!operand_) return;
    if (const T* direct = in_place<T>(b, operand_, 0)) {
      at_ = direct;
      each_ = operand_.each;
      return;
    }
    at_ = buffer_.data;
    each_ = Vec<T>::lanes;
    with_data(operand_, [&](const auto* data) { load_classes(b, operand_, classes_, data, buffer_.data); });
  }
  GK_INLINE Vec<T> operator[](int64_t k) const { return Vec<T>::load(at_ + k * each_); }

 private:
  const ClassOperand& operand_;
  int64_t classes_;
  const T* at_ = nullptr;
  int64_t each_ = 0;
  ClassBuffer<T> buffer_;
};

template <class T>
class ClassOutput {
 public:
  ClassOutput(const ClassOperand& o, const Classes& a)
      : operand_(o), classes_(a.classes), buffer_(o ? a.classes * Vec<T>::lanes : 0) {}

  void seek(const Span& b) {
    T* direct = operand_ ? in_place<T>(b, operand_, 0) : nullptr;
    at_ = direct ? direct : buffer_.data;
    each_ = direct ? operand_.each : Vec<T>::lanes;
  }
  GK_INLINE void set(int64_t k, Vec<T> v) {
    if (at_) v.store(at_ + k * each_);
  }
  void commit(const Span& b) {
    if (!operand_ || at_ != buffer_.data) return;
    with_data(operand_, [&](auto* data) { store_classes(b, operand_, classes_, buffer_.data, data); });
  }

 private:
  const ClassOperand& operand_;
  int64_t classes_;
  T* at_ = nullptr;
  int64_t each_ = 0;
  ClassBuffer<T> buffer_;
};

// A number a class of a block, from one pass to the next.
template <class T>
class ClassScratch {
 public:
  explicit ClassScratch(const Classes& a, bool used = true) : buffer_(used ? a.classes * Vec<T>::lanes : 0) {}
  GK_INLINE Vec<T> set(int64_t k, Vec<T> v) {
    v.store(buffer_.data + k * Vec<T>::lanes);
    return v;
  }
  template <class Compute>
  GK_INLINE Vec<T> get(int64_t k, const Compute&) const {
    return Vec<T>::load(buffer_.data + k * Vec<T>::lanes);
  }

 private:
  ClassBuffer<T> buffer_;
};

// Gumbel noise of a block, the caller's or made from the key: once, however often it is asked for.
template <class T>
class ClassNoise {
 public:
  explicit ClassNoise(const GumbelSoftmax& a)
      : a_(a),
        source_(a.noise.key.resolve()),
        given_(a.eps, a),
        made_(a.eps ? 0 : a.classes * Vec<T>::lanes),
        uniform_(a.eps ? 0 : a.classes * Vec<T>::lanes) {}

  void seek(const Span& b) {
    if (given_) return given_.seek(b);
    constexpr int64_t lanes = Vec<T>::lanes;
    for (int64_t at = 0; at < b.n;) {
      const int64_t element = b.first + at, outer = element / a_.inner, place = element - outer * a_.inner;
      const uint64_t index = a_.noise.element_offset + static_cast<uint64_t>(outer * a_.classes * a_.inner + place);
      // One run of classes after classes where nothing lies behind them, else one of elements for each class.
      const int64_t n = a_.inner == 1 ? b.n : least(a_.inner - place, b.n - at);
      if (a_.inner == 1) {
        const T* u = source_.fill<Uniform>(index, n * a_.classes, uniform_.data);
        int64_t k = 0;
        for (; n == lanes && k < a_.classes; k += lanes) {
          if (k + lanes > a_.classes && a_.classes >= lanes) k = a_.classes - lanes;  // over classes that are done
          turn<T>(u + k, a_.classes, made_.data + k * lanes, lanes);
        }
        for (; k < a_.classes; ++k)
          for (int64_t j = 0; j < n; ++j) made_.data[k * lanes + j] = u[j * a_.classes + k];
      } else {
        for (int64_t k = 0; k < a_.classes; ++k) {
          const T* u = source_.fill<Uniform>(index + static_cast<uint64_t>(k * a_.inner), n, uniform_.data);
          for (int64_t j = 0; j < n; ++j) made_.data[k * lanes + at + j] = u[j];
        }
      }
      at += n;
    }
    for (int64_t k = 0; k < a_.classes; ++k) gumbel(Vec<T>::load(made_.data + k * lanes)).store(made_.data + k * lanes);
  }
  GK_INLINE Vec<T> operator[](int64_t k) const {
    return given_ ? given_[k] : Vec<T>::load(made_.data + k * Vec<T>::lanes);
  }

 private:
  const GumbelSoftmax& a_;
  Source source_;
  ClassInput<T> given_;
  ClassBuffer<T> made_, uniform_;
};

}  // namespace genkern::GENKERN_ISA
