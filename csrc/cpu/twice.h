// Two vectors as one type of a formula. A processor looks ahead a few hundred instructions: where a formula is a long
// chain, of which each instruction waits for the one before, the two chains side by side fill each other's waits.
#pragma once

#include "cpu/vec_math.h"

namespace genkern::GENKERN_ISA {

// Integers and masks.
template <class Int>
struct TwiceInt {
  using Lane = std::decay_t<decltype(Int()[0])>;
  Int a, b;

#define GENKERN_OPERATOR(op)                                                                             \
  friend GK_INLINE TwiceInt operator op(TwiceInt x, TwiceInt y) { return {x.a op y.a, x.b op y.b}; }     \
  template <class N, class = std::enable_if_t<std::is_arithmetic_v<N>>>                                  \
  friend GK_INLINE TwiceInt operator op(TwiceInt x, N n) {                                               \
    return {x.a op static_cast<Lane>(n), x.b op static_cast<Lane>(n)};                                   \
  }
  GENKERN_OPERATOR(+)
  GENKERN_OPERATOR(-)
  GENKERN_OPERATOR(&)
  GENKERN_OPERATOR(|)
  GENKERN_OPERATOR(<<)
  GENKERN_OPERATOR(>>)
#undef GENKERN_OPERATOR
  template <class N, class = std::enable_if_t<std::is_arithmetic_v<N>>>
  friend GK_INLINE TwiceInt operator-(N n, TwiceInt x) {
    return {static_cast<Lane>(n) - x.a, static_cast<Lane>(n) - x.b};
  }
  friend GK_INLINE TwiceInt operator!(TwiceInt x) { return {!x.a, !x.b}; }
};

template <class T>
struct Twice {
  using V = Vec<T>;
  using Mask = TwiceInt<typename V::Mask>;
  V a, b;

  Twice() = default;
  GK_INLINE Twice(T s) : a(s), b(s) {}
  GK_INLINE Twice(V v) : a(v), b(v) {}
  GK_INLINE Twice(V a, V b) : a(a), b(b) {}

#define GENKERN_OPERATOR(Result, op) \
  friend GK_INLINE Result operator op(Twice x, Twice y) { return {x.a op y.a, x.b op y.b}; }
  GENKERN_OPERATOR(Twice, +)
  GENKERN_OPERATOR(Twice, -)
  GENKERN_OPERATOR(Twice, *)
  GENKERN_OPERATOR(Twice, /)
  GENKERN_OPERATOR(Mask, <)
  GENKERN_OPERATOR(Mask, <=)
  GENKERN_OPERATOR(Mask, >)
  GENKERN_OPERATOR(Mask, >=)
  GENKERN_OPERATOR(Mask, ==)
#undef GENKERN_OPERATOR
  friend GK_INLINE Twice operator-(Twice x) { return {-x.a, -x.b}; }
  friend GK_INLINE Twice abs(Twice x) { return {abs(x.a), abs(x.b)}; }
  friend GK_INLINE Twice max(Twice x, Twice y) { return {max(x.a, y.a), max(x.b, y.b)}; }
  friend GK_INLINE Twice min(Twice x, Twice y) { return {min(x.a, y.a), min(x.b, y.b)}; }
  friend GK_INLINE Twice fma(Twice x, Twice y, Twice z) { return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)}; }
  friend GK_INLINE Twice select(Mask m, Twice x, Twice y) { return {select(m.a, x.a, y.a), select(m.b, x.b, y.b)}; }
  friend GK_INLINE Twice exp(Twice x) { return elementary::exp(x); }
  friend GK_INLINE Twice log(Twice x) { return elementary::log(x); }
  friend GK_INLINE Twice log1p(Twice x) { return elementary::log1p(x); }
  friend GK_INLINE Twice log1p_unit(Twice x) { return elementary::log1p_unit(x); }
};

// The places of the two.
template <class Place>
struct TwicePlace {
  Place a, b;
};

}  // namespace genkern::GENKERN_ISA

namespace genkern {

template <class T>
struct Scalar<GENKERN_ISA::Twice<T>> {
  using type = T;
};

template <class T>
struct Masks<GENKERN_ISA::Twice<T>> {
  static GK_INLINE bool any(typename GENKERN_ISA::Twice<T>::Mask m) { return GENKERN_ISA::any(m.a | m.b); }
};

template <class T>
struct Lanes<GENKERN_ISA::Twice<T>> {
  using F = GENKERN_ISA::Twice<T>;
  using One = Lanes<GENKERN_ISA::Vec<T>>;
  using Int = GENKERN_ISA::TwiceInt<typename One::Int>;
  static constexpr auto kSign = One::kSign;
  static constexpr bool kScales = One::kScales;
  static GK_INLINE Int bits(F x) { return {One::bits(x.a), One::bits(x.b)}; }
  static GK_INLINE F from_bits(Int i) { return {One::from_bits(i.a), One::from_bits(i.b)}; }
  static GK_INLINE F to_float(Int i) { return {One::to_float(i.a), One::to_float(i.b)}; }
  static GK_INLINE F scale(F x, F n) { return {One::scale(x.a, n.a), One::scale(x.b, n.b)}; }
};

}  // namespace genkern
