// The engine as tiles see it, and the drivers, which choose the compiled form of a kernel that fits the arguments.
#pragma once

#include "cpu/classes.h"
#include "tiles/traits.h"

namespace genkern::GENKERN_ISA {

// The engine of a tile.
template <class U, bool kPlainScales = false>
struct Engine {
  using T = U;
  using F = Vec<T>;
  static constexpr int lanes = F::lanes;
  static constexpr bool kOneCopy = false;  // a loop of its own for each case
  static constexpr bool kPlain = kPlainScales;
  using Span = GENKERN_ISA::Span;
  using Input = GENKERN_ISA::Input<T>;
  using CountInput = Input;
  using LossInput = Input;
  using Output = GENKERN_ISA::Output<T>;
  using Eps = GENKERN_ISA::Eps<T>;
  using RowUniform = GENKERN_ISA::RowUniform<T>;
  using Values = GENKERN_ISA::Values<T>;
  using Scratch = GENKERN_ISA::Scratch<T>;

  // The part of a span that is among the first n elements; v in the lanes of these, 0 in others.
  static Span part(const Span& s, int64_t n) {
    const int64_t left = n - s.first;
    return left >= s.n ? s : Span(s.extent, s.first, left > 0 ? left : 0);
  }
  static GK_INLINE F only(const Span& part, int64_t i, F v) {
    return i + lanes <= part.n ? v : first_lanes(part.n - i, v);
  }
  // set(i, what the steps make) for all elements; numbers(i, f) is f(arguments...). A processor looks ahead a few
  // hundred instructions, so it waits where a formula is a longer chain: each step is taken for all before the next.
  template <class Arguments, class Set, class... Steps>
  static GK_INLINE void in_steps(const Span& s, const Arguments& numbers, const Set& set, const Steps&... steps) {
    steps_from(s, numbers, set, [](int64_t) { return Before(); }, steps...);
  }
  // Calls few(places, numbers...) for elements where x is not 0 and easy(numbers...) is true, then f(places,
  // numbers...) for the others where x is not 0. The first may be called for some of the others too; f replaces what it
  // gave them. The numbers are those of the inputs, of which x is one.
  template <class Easy, class Few, class Call, class... Inputs>
  static GK_INLINE void each_nonzero(const Span& s, const Input& x, const Easy& easy, const Few& few, const Call& f,
                                     const Inputs&... in) {
    constexpr unsigned all = (1u << lanes) - 1;
    Picked<T, kTile, sizeof...(in)> counted, others;
    const auto pick = [&](int64_t i, unsigned within) {
      counted.add(set_lanes(!(x[i] == F(0))) & within, i, in[i]...);
    };
    const int64_t whole = s.n - s.n % lanes;
    for (int64_t i = 0; i < whole; i += lanes) pick(i, all);
    if (whole < s.n) pick(whole, (1u << (s.n - whole)) - 1);
    counted.each(
        [&](Places<T> places, int64_t n, auto... numbers) {
          const unsigned within = n < lanes ? (1u << n) - 1 : all, fews = set_lanes(easy(numbers...));
          if (fews & within) few(places, numbers...);
          if (const unsigned left = ~fews & within) others.add(left, places, numbers...);
        },
        in...);
    others.each([&](Places<T> places, int64_t, auto... numbers) { f(places, numbers...); }, in...);
  }
  // Each element by one of two formulas, few where easy(numbers...) says so, else f. The one that most elements take
  // computes all of them, few by few_of_all(); then the other replaces what is its own. What an element gets does not
  // depend on the others.
  template <class Easy, class All, class Few, class Call, class... Inputs>
  static GK_INLINE void each_apart(const Span& s, const Easy& easy, const All& few_of_all, const Few& few,
                                   const Call& f, const Inputs&... in) {
    using List = Picked<T, kTile, sizeof...(in)>;
    const auto within = [&](int64_t i) { return (1u << least(lanes, s.n - i)) - 1; };
    List others;
    for (int64_t i = 0; i < s.n; i += lanes)
      if (const unsigned left = ~set_lanes(easy(in[i]...)) & within(i)) others.add(left, i, in[i]...);
    if (2 * others.size() <= s.n) {
      few_of_all();
      others.each([&](Places<T> places, int64_t, auto... numbers) { f(places, numbers...); }, in...);
      return;
    }
    for (int64_t i = 0; i < s.n; i += lanes) f(i, in[i]...);
    if (others.size() == s.n) return;
    List fews;
    for (int64_t i = 0; i < s.n; i += lanes)
      if (const unsigned some = set_lanes(easy(in[i]...)) & within(i)) fews.add(some, i, in[i]...);
    fews.each([&](Places<T> places, int64_t, auto... numbers) { few(places, numbers...); }, in...);
  }

 private:
  template <class Arguments, class Set, class Made, class Step, class... Others>
  static GK_INLINE void steps_from(const Span& s, const Arguments& numbers, const Set& set, const Made& made,
                                   const Step& step, const Others&... others) {
    const auto make = [&](int64_t i) { return numbers(i, [&](auto... x) { return step(made(i), x...); }); };
    if constexpr (sizeof...(others) == 0) {
      for (int64_t i = 0; i < s.n; i += lanes) set(i, make(i));
    } else {
      Scratches<T, decltype(make(0))> kept;
      for (int64_t i = 0; i < s.n; i += lanes) kept.set(i, make(i));
      steps_from(s, numbers, set, [&](int64_t i) { return kept[i]; }, others...);
    }
  }
};

// The engine of a tile with classes.
template <class U>
struct ClassEngine : Engine<U> {
  using Block = Span;
  using ClassInput = GENKERN_ISA::ClassInput<U>;
  using ClassOutput = GENKERN_ISA::ClassOutput<U>;
  using ClassScratch = GENKERN_ISA::ClassScratch<U>;
  using ClassNoise = GENKERN_ISA::ClassNoise<U>;
  static Block block(const Span& s, int64_t i) { return Span(s.extent, s.first + i, least(Engine<U>::lanes, s.n - i)); }
};

// f(engine) for the type of arithmetic; kernels are compiled apart for plain arguments.
template <class A, class F>
Status with_engine(const A& a, const F& f) {
  if constexpr (std::is_base_of_v<Classes, A>) {
    return a.wide ? f(ClassEngine<double>()) : f(ClassEngine<float>());
  } else {
    if constexpr (std::is_same_v<IsPlain<A>, bool>)
      if (is_plain(a)) return a.wide ? f(Engine<double, true>()) : f(Engine<float, true>());
    return a.wide ? f(Engine<double>()) : f(Engine<float>());
  }
}

// `reduce_tiles` where a loss is wanted, else `map_tiles`.
template <template <class> class Tile, class A>
Status run_tile(const A& a, const Launch& launch) {
  return with_engine(a, [&](auto engine) {
    using E = decltype(engine);
    using T = typename E::T;
    const LossesOf<A> losses(a);
    if constexpr (!kMaps<E, Tile<E>>) {
      return reduce_tiles<Tile<E>, T>(a, losses.at, launch);
    } else if constexpr (LossesOf<A>::count == 0) {
      return map_tiles<Tile<E>, T>(a, launch);
    } else {
      return losses.at[0]->out ? reduce_tiles<Tile<E>, T>(a, losses.at, launch) : map_tiles<Tile<E>, T>(a, launch);
    }
  });
}

}  // namespace genkern::GENKERN_ISA
