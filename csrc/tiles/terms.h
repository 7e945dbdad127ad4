// Terms of N numbers an element: what happens to one tile, for every backend (as tiles/gaussian.h).
#pragma once

#include <utility>

#include "kernels.h"
#include "math/scalar.h"

namespace genkern {

template <int N>
GK_INLINE std::true_type is_plain(const Terms<N>&) {
  return {};
}

// f(0, ..., N - 1), of constants.
template <class Call, int... k>
GK_INLINE auto with_constants(const Call& f, std::integer_sequence<int, k...>) {
  return f(std::integral_constant<int, k>()...);
}
template <int N, class Call>
GK_INLINE auto with_indices(const Call& f) {
  return with_constants(f, std::make_integer_sequence<int, N>());
}

// `static constexpr bool kEasyAtZero = true`: most first numbers are 0, of which little is to be computed, and most
// others few. Such a term has value_at_zero(the others) and gradient_at_zero(the others), in force where easy_at_zero()
// says so; value_of_few(all) and gradient_of_few(all), which may be taken where easy_as_few(all) says so.
template <class Term, class = void>
inline constexpr bool kEasyAtZero = false;
template <class Term>
inline constexpr bool kEasyAtZero<Term, std::void_t<decltype(Term::kEasyAtZero)>> = Term::kEasyAtZero;

// `static constexpr bool kLong = true`: a long chain of instructions, which is taken of E::Wide.
template <class Term, class = void>
inline constexpr bool kLong = false;
template <class Term>
inline constexpr bool kLong<Term, std::void_t<decltype(Term::kLong)>> = Term::kLong;

// Term<F>, of math/likelihood.h, say, is that of one element: its value and its gradient.
template <template <class> class Term>
struct TermTiles {
  template <class E>
  struct Inputs {
    using F = typename E::F;
    using Wide = typename E::Wide;
    static constexpr int N = Term<F>::kNumbers;
    static constexpr bool kFlushes = Term<F>::kFlushes;
    static constexpr int kMostElements = kEasyAtZero<Term<F>> ? 2 : 16;
    using Input = std::conditional_t<Term<F>::kOfCounts, typename E::CountInput, typename E::Input>;
    Input in[N];
    Term<F> term;
    Term<Wide> wide;

    GK_DEVICE explicit Inputs(const Terms<N>& a) : Inputs(a, std::make_integer_sequence<int, N>()) {}

    GK_DEVICE void fetch(const typename E::Span& s) {
      with_indices<N>([&](auto... k) { (in[k].fetch(s), ...); });
    }

    // hard(term, place, also..., numbers...) for all elements, where `also` are numbers of inputs besides. Where zeros
    // are easy, easy(term, place, also..., the other numbers...) for all, then few or the former where the first number
    // is not 0.
    template <class Hard, class Easy, class Few, class... Also>
    GK_DEVICE void each(const typename E::Span& s, const Hard& hard, const Easy& easy, const Few& few,
                        const Also&... also) {
      with_indices<N>([&](auto... k) {
        if constexpr (kEasyAtZero<Term<F>>) {
          if (term.easy_at_zero()) {
            E::each_wide(s, [&](auto i) {
              with_indices<N - 1>([&](auto... j) { easy(wide, i, Wide(also[i])..., Wide(in[j + 1][i])...); });
            });
            E::each_nonzero(
                s, in[0], [&](auto i) { return term.easy_as_few(F(in[k][i])...); },
                [&](auto i, auto... x) { few(wide, i, Wide(x)...); },
                [&](auto i, auto... x) { hard(term, i, F(x)...); }, also..., in[k]...);
            return;
          }
        }
        if constexpr (kLong<Term<F>>)
          E::each_wide(s, [&](auto i) { hard(wide, i, Wide(also[i])..., Wide(in[k][i])...); });
        else
          GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) hard(term, i, F(also[i])..., F(in[k][i])...);
      });
    }

   private:
    template <int... k>
    GK_DEVICE Inputs(const Terms<N>& a, std::integer_sequence<int, k...>) : in{a.of[k]...}, term(a.options), wide(a.options) {}
  };

  template <class E>
  struct Forward : Inputs<E> {
    using F = typename E::F;
    using Inputs<E>::N;

    GK_DEVICE explicit Forward(const TermsForward<N>& a) : Inputs<E>(a) {}

    GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* value) {
      this->fetch(s);
      this->each(
          s, [&](const auto& term, auto i, auto... x) { value->set(i, term.value(x...)); },
          [&](const auto& term, auto i, auto... x) { value->set(i, term.value_at_zero(x...)); },
          [&](const auto& term, auto i, auto... x) { value->set(i, term.value_of_few(x...)); });
    }
  };

  template <class E>
  struct Backward : Inputs<E> {
    using F = typename E::F;
    using Inputs<E>::N;
    typename E::LossInput grad;
    F factor;
    typename E::Output d[N];

    GK_DEVICE explicit Backward(const TermsBackward<N>& a) : Backward(a, std::make_integer_sequence<int, N>()) {}

    GK_DEVICE void operator()(const typename E::Span& s) {
      this->fetch(s);
      grad.fetch(s);
      with_indices<N>([&](auto... k) { (d[k].prepare(s), ...); });
      this->each(
          s, [&](const auto& term, auto i, auto g, auto... x) { set(i, g, term.gradient(x...)); },
          [&](const auto& term, auto i, auto g, auto... x) { set(i, g, term.gradient_at_zero(x...)); },
          [&](const auto& term, auto i, auto g, auto... x) { set(i, g, term.gradient_of_few(x...)); }, grad);
      with_indices<N>([&](auto... k) { (d[k].commit(s), ...); });
    }

   private:
    template <int... k>
    GK_DEVICE Backward(const TermsBackward<N>& a, std::integer_sequence<int, k...>)
        : Inputs<E>(a), grad(a.grad), factor(typename E::T(a.factor)), d{a.d[k]...} {}

    template <class Place, class V>
    GK_DEVICE void set(Place i, V of_loss, const Numbers<V, N>& by) {
      const V g = of_loss * V(factor);
      with_indices<N>([&](auto... k) { (set(i, d[k], g * by.of[k]), ...); });
    }
    // Picked elements are stored one by one, if at all.
    template <class Place, class V>
    GK_DEVICE void set(Place i, typename E::Output& to, V v) {
      if (!std::is_same_v<Place, typename E::PickedPlace> || to) to.set(i, v);
    }
  };
};

}  // namespace genkern
