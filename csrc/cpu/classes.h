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
      : data(size ? new T[(size < kSquare ? kSquare : size) + kNoiseBlock + 64]() : nullptr) {}
  ClassBuffer(const ClassBuffer&) = delete;
  ~ClassBuffer() { delete[] data; }
  T* const data;

 private:
  static constexpr int64_t kSquare = int64_t{Vec<T>::lanes} * Vec<T>::lanes;  // which few classes fill in part
};

// A square of rows, each as long as a vector, becomes its columns.
template <class T>
[[gnu::noinline]] void turn(const T* from, int64_t from_row, T* to, int64_t to_row) {
  constexpr int64_t lanes = Vec<T>::lanes;
  typename Vec<T>::Native square[lanes];
  GK_UNROLL
  for (int i = 0; i < lanes; ++i) square[i] = Vec<T>::load(from + i * from_row).v;
  transpose<T>(square);
  GK_UNROLL
  for (int i = 0; i < lanes; ++i) Vec<T>(square[i]).store(to + i * to_row);
}

// Whether a block has fewer classes than lanes, but not so few that a vector of them would be mostly empty, and its
// rows follow one another.
template <class T>
GK_INLINE bool few_in_a_run(const ClassOperand& o, int64_t n, int64_t classes) {
  return n == Vec<T>::lanes && classes < n && 4 * classes >= n && o.each == 1 && o.elem == classes;
}

// These rows from one distance to another. A vector reaches into the row behind, which comes after it; the last rows,
// behind which the block ends, go by themselves.
template <class T>
void move_few(const T* from, int64_t from_row, T* to, int64_t to_row, int64_t classes) {
  constexpr int64_t lanes = Vec<T>::lanes;
  int64_t j = 0;
  for (; j * classes + lanes <= lanes * classes; ++j) Vec<T>::load(from + j * from_row).store(to + j * to_row);
  for (; j < lanes; ++j) copy(from + j * from_row, to + j * to_row, classes);
}

// The classes of whole squares, the last of which may overlap the one before: f(first class). How many are done.
template <class T, class F>
GK_INLINE int64_t each_square(const ClassOperand& o, int64_t n, int64_t classes, const F& f) {
  constexpr int64_t lanes = Vec<T>::lanes;
  if (n != lanes || o.each != 1 || classes < lanes) return 0;
  for (int64_t k = 0; k < classes; k += lanes) f(least(k, classes - lanes));
  return classes;
}

// convert(value) of every element and class of a block: to[class * lanes + place]. Where an element's classes lie side
// by side, squares of elements and classes are turned.
template <class T, class S, class Convert>
void load_classes(const Span& b, const ClassOperand& o, int64_t classes, const S* data, T* to, const Convert& convert) {
  constexpr int64_t lanes = Vec<T>::lanes;
  b.each_run(o, [&](int64_t at, int64_t index, int64_t n) {
    const S* from = data + index;
    if (few_in_a_run<T>(o, n, classes)) {
      alignas(64) T rows[lanes * lanes];
      if constexpr (std::is_same_v<T, S>) {
        move_few(from, classes, rows, lanes, classes);
      } else {
        for (int64_t j = 0; j < lanes; ++j)
          for (int64_t k = 0; k < classes; ++k) rows[j * lanes + k] = static_cast<T>(convert(from[j * classes + k]));
      }
      turn(rows, lanes, to, lanes);
      return;
    }
    const int64_t done = each_square<T>(o, n, classes, [&](int64_t k) {
      if constexpr (std::is_same_v<T, S>) {
        turn(from + k, o.elem, to + k * lanes, lanes);
      } else {
        T square[lanes * lanes];
        for (int64_t j = 0; j < lanes; ++j)
          for (int64_t i = 0; i < lanes; ++i) square[j * lanes + i] = static_cast<T>(convert(from[k + i + j * o.elem]));
        turn(square, lanes, to + k * lanes, lanes);
      }
    });
    for (int64_t k = done; k < classes; ++k)
      for (int64_t j = 0; j < n; ++j) to[k * lanes + at + j] = static_cast<T>(convert(from[k * o.each + j * o.elem]));
  });
}

template <class T, class S, class Convert>
void store_classes(const Span& b, const ClassOperand& o, int64_t classes, const T* from, S* data,
                   const Convert& convert) {
  constexpr int64_t lanes = Vec<T>::lanes;
  b.each_run(o, [&](int64_t at, int64_t index, int64_t n) {
    S* to = data + index;
    if (few_in_a_run<T>(o, n, classes)) {
      alignas(64) T rows[lanes * lanes];
      turn(from, lanes, rows, lanes);
      if constexpr (std::is_same_v<T, S>) {
        move_few(rows, lanes, to, classes, classes);
      } else {
        for (int64_t j = 0; j < lanes; ++j)
          for (int64_t k = 0; k < classes; ++k) to[j * classes + k] = convert(rows[j * lanes + k]);
      }
      return;
    }
    const int64_t done = each_square<T>(o, n, classes, [&](int64_t k) {
      if constexpr (std::is_same_v<T, S>) {
        turn(from + k * lanes, lanes, to + k, o.elem);
      } else {
        T square[lanes * lanes];
        turn(from + k * lanes, lanes, square, lanes);
        for (int64_t j = 0; j < lanes; ++j)
          for (int64_t i = 0; i < lanes; ++i) to[k + i + j * o.elem] = convert(square[j * lanes + i]);
      }
    });
    for (int64_t j = 0; j < n; ++j)
      for (int64_t k = done; k < classes; ++k) to[k * o.each + j * o.elem] = convert(from[k * lanes + at + j]);
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
    reading(operand_,
            [&](auto* data, auto convert) { load_classes(b, operand_, classes_, data, buffer_.data, convert); });
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
    writing<T>(operand_,
               [&](auto* data, auto convert) { store_classes(b, operand_, classes_, buffer_.data, data, convert); });
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

GK_INLINE F32 half_open_unit(U32 word) {
  return F32(__builtin_convertvector(word & 0xFFFFFFu, F32::Native)) * F32(0x1p-24f);
}

// kNoiseBlock uniform numbers, from the counter of the first on.
GK_INLINE void uniform_block(uint64_t seed, uint64_t counter, float* out) {
  const WordVectors w = philox_vectors(seed, counter);
  const Halves<float> even = interleave(half_open_unit(w.x[0]), half_open_unit(w.x[2])),
                      odd = interleave(half_open_unit(w.x[1]), half_open_unit(w.x[3]));
  const Halves<float> a = interleave(even.low, odd.low), b = interleave(even.high, odd.high);
  a.low.store(out);
  a.high.store(out + F32::lanes);
  b.low.store(out + 2 * F32::lanes);
  b.high.store(out + 3 * F32::lanes);
}

// Elements index ... index + n - 1 of the uniform stream, at the returned place in `to`, which has room for a block
// more.
inline const float* uniform_run(Key key, uint64_t index, int64_t n, float* to) {
  const uint64_t skip = index % 4;
  uint64_t counter = key.offset + index / 4;
  for (int64_t i = 0; i < static_cast<int64_t>(skip) + n; i += kNoiseBlock, counter += kNoiseBlock / 4)
    uniform_block(key.seed, counter, to + i);
  return to + skip;
}

inline const double* uniform_run(Key key, uint64_t index, int64_t n, double* to) {
  const uint64_t skip = index % 2;
  uint64_t counter = key.offset + index / 2;
  for (int64_t i = 0; i < static_cast<int64_t>(skip) + n; i += 2, ++counter) {
    const Words w = philox(key.seed, counter);
    to[i] = unit(w.x0, w.x1);
    to[i + 1] = unit(w.x2, w.x3);
  }
  return to + skip;
}

// Gumbel noise of a block, the caller's or made from the key: once, however often it is asked for.
template <class T>
class ClassNoise {
 public:
  explicit ClassNoise(const GumbelSoftmax& a)
      : a_(a),
        key_(a.noise.key.resolve()),
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
        const T* u = uniform_run(key_, index, n * a_.classes, uniform_.data);
        int64_t k = 0;
        for (; n == lanes && k < a_.classes; k += lanes) {
          if (k + lanes > a_.classes && a_.classes >= lanes) k = a_.classes - lanes;  // over classes that are done
          turn(u + k, a_.classes, made_.data + k * lanes, lanes);
        }
        for (; k < a_.classes; ++k)
          for (int64_t j = 0; j < n; ++j) made_.data[k * lanes + j] = u[j * a_.classes + k];
      } else {
        for (int64_t k = 0; k < a_.classes; ++k) {
          const T* u = uniform_run(key_, index + static_cast<uint64_t>(k * a_.inner), n, uniform_.data);
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
  Key key_;
  ClassInput<T> given_;
  ClassBuffer<T> made_, uniform_;
};

}  // namespace genkern::GENKERN_ISA
