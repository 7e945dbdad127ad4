// The engine as tiles see it, and which compiled form of a kernel fits the arguments.
#pragma once

#include "cpu/noise.h"

namespace genkern::GENKERN_ISA {

// What a tile is compiled against.
template <class U>
struct Engine {
  using T = U;
  using F = Vec<T>;
  static constexpr int lanes = F::lanes;
  static constexpr bool kOneCopy = false;  // a loop of its own for each case
  using Span = GENKERN_ISA::Span;
  using Input = GENKERN_ISA::Input<T>;
  using LossInput = Input;
  using Output = GENKERN_ISA::Output<T>;
  using Eps = GENKERN_ISA::Eps<T>;
  using RowUniform = GENKERN_ISA::RowUniform<T>;
  using Values = GENKERN_ISA::Values<T>;
  using Scratch = GENKERN_ISA::Scratch<T>;
  struct Tails {};  // results below the normal range are kept

  // What a span has of the first n elements, and v in the lanes of these, 0 in others.
  static Span part(const Span& s, int64_t n) {
    const int64_t left = n - s.first;
    return left >= s.n ? s : Span(s.extent, s.first, left > 0 ? left : 0);
  }
  static GK_INLINE F only(const Span& part, int64_t i, F v) {
    return i + lanes <= part.n ? v : first_lanes(part.n - i, v);
  }
};

// An engine for tiles where what lies far out in a tail is only added to more, or scaled down once more.
template <class E>
struct Flushing : E {
  using Tails = FlushToZero<typename E::T>;
};

// f(engine, plain) for the type of arithmetic; float kernels are compiled apart for plain arguments.
template <class F>
Status with_type(bool wide, bool plain, const F& f) {
  if (wide) return f(Engine<double>(), std::false_type());
  return plain ? f(Engine<float>(), std::true_type()) : f(Engine<float>(), std::false_type());
}

}  // namespace genkern::GENKERN_ISA
