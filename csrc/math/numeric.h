// Functions that lose digits when written down naively. F is float, double or a vector of them; `select`,
// `abs`, `exp`, `log`, `log1p`, `max` come with the type.
#pragma once

#include "math/elementary.h"

namespace genkern {

inline constexpr double kLog2 = 0.69314718055994530941723212145818;

// The largest number.
template <class F>
inline constexpr scalar_t<F> kLargest =
    static_cast<scalar_t<F>>(sizeof(scalar_t<F>) == 8 ? 1.7976931348623157e308 : 3.4028234663852886e38);

// The smallest normal number.
template <class F>
inline constexpr scalar_t<F> kSmallest = static_cast<scalar_t<F>>(sizeof(scalar_t<F>) == 8 ? 0x1p-1022 : 0x1p-126);

// The logarithm of the largest number.
template <class F>
inline constexpr scalar_t<F> kLogLargest =
    static_cast<scalar_t<F>>(sizeof(scalar_t<F>) == 8 ? 709.78271289338397 : 88.722839052068);

inline constexpr float kMinusInfinity = -__builtin_huge_valf();

// A number that is nothing beside 1, and whose reciprocal is still a number.
template <class F>
inline constexpr scalar_t<F> kNegligible = static_cast<scalar_t<F>>(sizeof(scalar_t<F>) == 8 ? 1e-290 : 1e-30);

// A large number whose square is a number, too.
template <class F>
inline constexpr scalar_t<F> kSquarable = static_cast<scalar_t<F>>(sizeof(scalar_t<F>) == 8 ? 1e150 : 1e18);

// A large number whose square is infinite. An end of a bin counts as no farther out than this: its product with the 0
// that is left beyond it is 0, not nan.
template <class F>
inline constexpr scalar_t<F> kFarthest = static_cast<scalar_t<F>>(sizeof(scalar_t<F>) == 8 ? 1e300 : 1e37);
template <class F>
GK_INLINE F within(F x, F most) {
  return min(most, max(-most, x));
}

// The factor, but a number where what it multiplies is 0: no distance is 0 sigmas, however small sigma is.
template <class F>
GK_INLINE F finite_at_zero(F x, F factor) {
  return select(x == F(0), min(F(kLargest<F>), factor), factor);
}
template <class F>
GK_INLINE F times(F x, F factor) {
  return x * finite_at_zero(x, factor);
}

// What the logarithm of the rounded sum 1 + x lacks, for |x| < 1/2: the part that rounding took, over the sum.
template <class F>
GK_INLINE F lost_of_sum(F x, F rounded) {
  return (x - (rounded - F(1))) * fma(x, x - F(1), F(1));
}

// a b - c, rounded once or nearly so whether or not the machine multiplies and adds in one (Dekker 1971).
template <class F>
GK_INLINE F product_less(F a, F b, F c) {
  using T = scalar_t<F>;
  const F splitter(T(sizeof(T) == 8 ? 0x1p27 + 1 : 0x1p12 + 1)), product = a * b, wide_a = splitter * a,
                                                                 wide_b = splitter * b;
  const F high_a = wide_a - (wide_a - a), high_b = wide_b - (wide_b - b), low_a = a - high_a, low_b = b - high_b;
  const F lost = ((high_a * high_b - product) + high_a * low_b + low_a * high_b) + low_a * low_b;
  return (product - c) + lost;
}

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

// e = exp(-|x|).
template <class F>
GK_INLINE F softplus(F x, F e) {
  return max(x, F(0)) + log1p_unit(e);
}
template <class F>
GK_INLINE F softplus(F x) {
  return softplus(x, exp(-abs(x)));
}

template <class F>
GK_INLINE F sigmoid(F x, F e) {
  return select(x < F(0), e, F(1)) / (F(1) + e);
}
template <class F>
GK_INLINE F sigmoid(F x) {
  return sigmoid(x, exp(-abs(x)));
}

// tanh(x) and its derivative, both without cancellation.
template <class F>
struct Tanh {
  F value, slope;
};

template <class F>
GK_INLINE Tanh<F> tanh_terms(F x) {
  const F e = exp(F(-2) * abs(x));
  const F minus = F(2) * half_expm1(F(-2) * abs(x)).value;
  const F value = abs(minus) / (F(1) + e);  // of 0 it is 0, not -0
  return {select(x < F(0), -value, value), F(4) * e / ((F(1) + e) * (F(1) + e))};
}

// exp(t^2 / 2) times the mass of N(0, 1) beyond t >= 0: from 1/2 down, as 1 / (t sqrt(2 pi)) in the end. (1 + t) times
// it is a polynomial in (t - k) / (t + k), which maps the half line to [-1, 1] (Shepherd & Laframboise 1981); the
// coefficients are those of the Chebyshev expansion (docs/fit.py). One quotient serves both divisions.
template <class F>
GK_INLINE F scaled_tail(F t) {
  using T = scalar_t<F>;
  constexpr bool wide = sizeof(T) == 8;
  t = min(F(T(wide ? 1e153 : 8e18)), t);  // the product below stays finite
  const F k(T(wide ? 4 : 3)), one_and_t = F(1) + t, sum = t + k;
  const F inverse = F(1) / (one_and_t * sum);
  const F q = (t - k) * (one_and_t * inverse);
  if constexpr (wide) {
    constexpr T c[] = {0.47205320650984468,    -0.096703477326526068,  0.013999634724424333,   0.02860036405357749,
                       -0.032197837428022025,  0.017936097478868589,   -0.0050023785925114943, -0.00028562308680939413,
                       0.00069489712190731662, -9.4430339441522229e-5, -8.7853303947977457e-5, 2.1250446856208375e-5,
                       1.3627395285352675e-5,  -3.4333722168532754e-6, -2.6144101706596151e-6, 4.0671730125154448e-7,
                       5.5483404622077898e-7,  -1.237153366992197e-9,  -1.144685071275808e-7,  -1.7932121916642414e-8,
                       2.0257667136861587e-8,  5.4747086320486894e-9,  -2.6180348731255446e-9, -6.7632672105624539e-10,
                       1.7873545221852657e-10};
    return elementary::polynomial(q, c) * (sum * inverse);
  } else {
    constexpr T c[] = {4.860557993e-1f,  -9.65267397e-2f, -1.643261197e-2f, 4.516344296e-2f,
                       -2.272445134e-2f, 1.164053739e-3f, 2.986697283e-3f,  -3.65392183e-4f,
                       -4.74006716e-4f,  3.577510492e-5f, 5.971905415e-5f};
    return elementary::polynomial(q, c) * (sum * inverse);
  }
}

}  // namespace genkern
