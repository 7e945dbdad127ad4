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

// `static constexpr bool kEasyIfFew = true`: the value of small counts takes less. Such a term has value_of_few(take),
// a formula in steps (math/scalar.h), which may be taken where easy() and easy_as_few(all) say so.
template <class Term, class = void>
inline constexpr bool kEasyIfFew = false;
template <class Term>
inline constexpr bool kEasyIfFew<Term, std::void_t<decltype(Term::kEasyIfFew)>> = Term::kEasyIfFew;

// `static constexpr bool kEasyAtZero = true`: most first numbers are 0, of which little is to be computed, and most
// others few. Such a term has value_at_zero(take) and gradient_at_zero(take), formulas in steps of the other numbers,
// in force where easy_at_zero() says so; value_of_few(all) and gradient_of_few(all), which may be taken where
// easy_as_few(all) says so.
template <class Term, class = void>
inline constexpr bool kEasyAtZero = false;
template <class Term>
inline constexpr bool kEasyAtZero<Term, std::void_t<decltype(Term::kEasyAtZero)>> = Term::kEasyAtZero;

// Term<F>, of math/likelihood.h, say, is that of one element: its value and its gradient.
template <template <class> class Term>
struct TermTiles {
  template <class E>
  struct Inputs {
    using F = typename E::F;
    static constexpr int N = Term<F>::kNumbers;
    static constexpr bool kFlushes = Term<F>::kFlushes;
    static constexpr int kMostElements = kEasyAtZero<Term<F>> ? 2 : 16;
    using Input = std::conditional_t<Term<F>::kOfCounts, typename E::CountInput, typename E::Input>;
    Input in[N];
    Term<F> term;

    GK_DEVICE explicit Inputs(const Terms<N>& a) : Inputs(a, std::make_integer_sequence<int, N>()) {}

    GK_DEVICE void fetch(const typename E::Span& s) {
      with_indices<N>([&](auto... k) { (in[k].fetch(s), ...); });
    }

    // f(place, numbers of `also`..., the numbers...) for all elements.
    template <class Call, class... Also>
    GK_DEVICE void each(const typename E::Span& s, const Call& f, const Also&... also) {
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes)
          with_indices<N>([&](auto... k) { f(i, F(also[i])..., F(in[k][i])...); });
    }
    // set(i, numbers of `also`..., what the steps make) for all elements; steps(take) are a formula of the inputs from
    // `first` on.
    template <int first, class Set, class Steps, class... Also>
    GK_DEVICE void in_steps(const typename E::Span& s, const Set& set, const Steps& steps, const Also&... also) {
      const auto numbers = [&](int64_t i, const auto& f) {
        return with_indices<N - first>([&](auto... k) { return f(F(in[k + first][i])...); });
      };
      steps([&](const auto&... step) {
        E::in_steps(s, numbers, [&](int64_t i, const auto& made) { set(i, F(also[i])..., made); }, step...);
      });
    }
    // An element gets what `few` makes in steps if `easy` says so, else the result of `general`.
    template <class Set, class Easy, class Few, class General>
    GK_DEVICE void few_apart(const typename E::Span& s, const Set& set, const Easy& easy, const Few& few,
                             const General& general) {
      const auto picked = [&](auto i, auto... x) {
        few([&](const auto&... step) {
          set(i, all_steps<F>([&](const auto& f) { return f(x...); }, Before(), step...));
        });
      };
      with_indices<N>(
          [&](auto... k) { E::each_apart(s, easy, [&] { in_steps<0>(s, set, few); }, picked, general, in[k]...); });
    }
    // All elements get what `zero` makes in steps. Then those whose first number is not 0 get another result, that of
    // `few` if `easy` says so, else that of `general`.
    template <class Set, class Zero, class Easy, class Few, class General, class... Also>
    GK_DEVICE void by_kind(const typename E::Span& s, const Set& set, const Zero& zero, const Easy& easy,
                           const Few& few, const General& general, const Also&... also) {
      in_steps<1>(s, set, zero, also...);
      with_indices<N>([&](auto... k) { E::each_nonzero(s, in[0], easy, few, general, also..., in[k]...); });
    }

   private:
    template <int... k>
    GK_DEVICE Inputs(const Terms<N>& a, std::integer_sequence<int, k...>) : in{a.of[k]...}, term(a.options) {}
  };

  template <class E>
  struct Forward : Inputs<E> {
    using F = typename E::F;
    using Inputs<E>::N;

    GK_DEVICE explicit Forward(const TermsForward<N>& a) : Inputs<E>(a) {}

    GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* value) {
      this->fetch(s);
      const auto set = [&](auto i, const F& v) { value->set(i, v); };
      const auto general = [&](auto i, auto... x) { set(i, this->term.value(F(x)...)); };
      if constexpr (kEasyAtZero<Term<F>>) {
        if (this->term.easy_at_zero())
          return this->by_kind(
              s, set, [&](const auto& take) { this->term.value_at_zero(take); },
              [&](auto... x) { return this->term.easy_as_few(x...); },
              [&](auto i, auto... x) { set(i, this->term.value_of_few(F(x)...)); }, general);
      } else if constexpr (kEasyIfFew<Term<F>> && !E::kOneCopy) {
        if (this->term.easy())
          return this->few_apart(
              s, set, [&](auto... x) { return this->term.easy_as_few(x...); },
              [&](const auto& take) { this->term.value_of_few(take); }, general);
      }
      this->each(s, general);
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
      compute(s);
      with_indices<N>([&](auto... k) { (d[k].commit(s), ...); });
    }

   private:
    template <int... k>
    GK_DEVICE Backward(const TermsBackward<N>& a, std::integer_sequence<int, k...>)
        : Inputs<E>(a), grad(a.grad), factor(typename E::T(a.factor)), d{a.d[k]...} {}

    GK_DEVICE void compute(const typename E::Span& s) {
      const auto set = [&](auto i, F of_loss, const Numbers<F, N>& by) {
        const F g = of_loss * factor;
        with_indices<N>([&](auto... k) { (put(i, d[k], g * by.of[k]), ...); });
      };
      const auto general = [&](auto i, auto of_loss, auto... x) { set(i, F(of_loss), this->term.gradient(F(x)...)); };
      if constexpr (kEasyAtZero<Term<F>>)
        if (this->term.easy_at_zero())
          return this->by_kind(
              s, set, [&](const auto& take) { this->term.gradient_at_zero(take); },
              [&](auto, auto... x) { return this->term.easy_as_few(x...); },
              [&](auto i, auto of_loss, auto... x) { set(i, F(of_loss), this->term.gradient_of_few(F(x)...)); },
              general, grad);
      this->each(s, general, grad);
    }
    // A vector or a picked element; the latter are stored one by one, so it is asked first whether the gradient is
    // wanted.
    template <class Place>
    GK_DEVICE void put(Place i, typename E::Output& to, F v) {
      if (std::is_same_v<Place, int64_t> || to) to.set(i, v);
    }
  };
};

}  // namespace genkern
