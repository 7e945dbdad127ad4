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

// Term<F>, of math/likelihood.h or math/discrete.h, is that of one element: its value and its gradient.
template <template <class> class Term>
struct TermTiles {
  template <class E>
  struct Inputs {
    using F = typename E::F;
    static constexpr int N = Term<F>::kNumbers;
    static constexpr bool kFlushes = Term<F>::kFlushes;
    typename E::Input in[N];
    Term<F> term;

    GK_DEVICE explicit Inputs(const Terms<N>& a) : Inputs(a, std::make_integer_sequence<int, N>()) {}

    GK_DEVICE void fetch(const typename E::Span& s) {
      with_indices<N>([&](auto... k) { (in[k].fetch(s), ...); });
    }

   private:
    template <int... k>
    GK_DEVICE Inputs(const Terms<N>& a, std::integer_sequence<int, k...>) : in{a.of[k]...}, term(a.options) {}
  };

  template <class E>
  struct Forward : Inputs<E> {
    using F = typename E::F;
    using Inputs<E>::in, Inputs<E>::term, Inputs<E>::N;

    GK_DEVICE explicit Forward(const TermsForward<N>& a) : Inputs<E>(a) {}

    GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* value) {
      this->fetch(s);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes)
          value->set(i, with_indices<N>([&](auto... k) { return term.value(F(in[k][i])...); }));
    }
  };

  template <class E>
  struct Backward : Inputs<E> {
    using F = typename E::F;
    using Inputs<E>::in, Inputs<E>::term, Inputs<E>::N;
    typename E::LossInput grad;
    F factor;
    typename E::Output d[N];

    GK_DEVICE explicit Backward(const TermsBackward<N>& a) : Backward(a, std::make_integer_sequence<int, N>()) {}

    GK_DEVICE void operator()(const typename E::Span& s) {
      this->fetch(s);
      grad.fetch(s);
      with_indices<N>([&](auto... k) { (d[k].prepare(s), ...); });
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const F g = grad[i] * factor;
        with_indices<N>([&](auto... k) {
          const Numbers<F, N> by = term.gradient(F(in[k][i])...);
          (d[k].set(i, g * by.of[k]), ...);
        });
      }
      with_indices<N>([&](auto... k) { (d[k].commit(s), ...); });
    }

   private:
    template <int... k>
    GK_DEVICE Backward(const TermsBackward<N>& a, std::integer_sequence<int, k...>)
        : Inputs<E>(a), grad(a.grad), factor(typename E::T(a.factor)), d{a.d[k]...} {}
  };
};

}  // namespace genkern
