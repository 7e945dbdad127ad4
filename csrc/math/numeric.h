// Functions that lose digits when written down naively. F is float, double or a vector of them; `select`,
// `abs`, `exp`, `log`, `log1p`, `max` come with the type.
#pragma once

#include "math/elementary.h"

namespace genkern {

// 1/2!, 1/3!, ...
template <class T, int N>
struct Coefficients {
  T value[N];
};

template <class T, int N>
constexpr Coefficients<T, N> inverse_factorials() {
  Coefficients<T, N> table{};
  double factorial = 1.0;
  for (int k = 0; k < N; ++k) {
    factorial *= k + 2;
    table.value[k] = static_cast<T>(1.0 / factorial);
  }
  return table;
}

// expm1_terms and exp_root_terms for double. Near 0 by the series x^2 (1/2! + x/3! + ...), whose first omitted term is
// below half an ulp for |x| < 1.
template <class F>
GK_INLINE Expm1<F> expm1_by_series(F x) {
  constexpr int terms = sizeof(scalar_t<F>) == 8 ? 17 : 10;
  constexpr auto coefficient = inverse_factorials<scalar_t<F>, terms>();
  F series = F(coefficient.value[terms - 1]);
  GK_UNROLL
  for (int k = terms - 2; k >= 0; --k) series = fma(series, x, F(coefficient.value[k]));
  series = series * x * x;
  const auto near = abs(x) < F(1);
  const F above = exp(x) - F(1);
  // Above 100 the last term is lost in rounding; left out, it spares infinity the difference inf - inf.
  const F last = select(x < F(100), x, F(0));
  return {select(near, series, above - last), select(near, x + series, above)};
}

GK_INLINE Expm1<double> expm1_terms(double x) { return expm1_by_series(x); }
GK_INLINE ExpRoot<double> exp_root_terms(double x) { return {exp(0.5 * x), expm1_terms(x)}; }

template <class F>
GK_INLINE F softplus(F x) {
  return max(x, F(0)) + log1p(exp(-abs(x)));
}

template <class F>
GK_INLINE F sigmoid(F x) {
  const F e = exp(-abs(x));
  return select(x < F(0), e, F(1)) / (F(1) + e);
}

// tanh(x) and its derivative, both without cancellation.
template <class F>
struct Tanh {
  F value, slope;
};

template <class F>
GK_INLINE Tanh<F> tanh_terms(F x) {
  const F e = exp(F(-2) * abs(x));
  const F minus = expm1_terms(F(-2) * abs(x)).value;
  const F value = -minus / (F(1) + e);
  return {select(x < F(0), -value, value), F(4) * e / ((F(1) + e) * (F(1) + e))};
}

}  // namespace genkern
