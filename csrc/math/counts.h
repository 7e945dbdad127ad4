// Likelihoods of counts, an element at a time (sources and derivations: docs/numerics.md).
#pragma once

#include "math/gaussian.h"
#include "math/options.h"

namespace genkern {

// 1 / 3 + w^2 / 5 + ..., of artanh(w) = w + w^3 (1 / 3 + w^2 / 5 + ...) near 0, in w^2.
template <class F>
GK_INLINE F artanh_tail(F w2) {
  using T = scalar_t<F>;
  constexpr T c[] = {T(1. / 3), T(1. / 5), T(1. / 7), T(1. / 9), T(1. / 11), T(1. / 13), T(1. / 15), T(1. / 17)};
  return elementary::polynomial(w2, c);
}

// log Gamma(x + 1) for x > -1, its derivative, and what it has besides x log x - x. By Stirling's series at z = x or,
// where x is small, at z = x + shift, from which the product (x + 1) ... (x + shift) leads back.
template <class F>
struct LogFactorial {
  F value, slope, rest;
};

template <class F>
GK_INLINE LogFactorial<F> log_factorial(F x) {
  using T = scalar_t<F>;
  constexpr int shift = sizeof(T) == 8 ? 9 : 3;
  constexpr T c[] = {T(1. / 12),   T(-1. / 360),      T(1. / 1260), T(-1. / 1680),
                     T(1. / 1188), T(-691. / 360360), T(1. / 156)};
  constexpr T d[] = {T(1. / 12), T(-1. / 120), T(1. / 252), T(-1. / 240), T(1. / 132), T(-691. / 32760), T(1. / 12)};
  const auto small = x < F(T(shift));
  const auto nothing = (x == F(0)) | (x == F(1));
  const F z = select(small, x + F(T(shift)), x), log_z = log(z), inverse = F(1) / z, square = inverse * inverse;
  const F rest = fma(inverse, elementary::polynomial(square, c), F(0.5f) * (log_z + F(T(kLog2Pi))));
  LogFactorial<F> found = {z * (log_z - F(1)) + rest,
                           log_z + fma(F(0.5f), inverse, -square * elementary::polynomial(square, d)), rest};
  if (Masks<F>::any(small)) {
    F product(T(1)), slope(T(0));
    GK_UNROLL
    for (int k = 1; k <= shift; ++k) {
      slope = fma(slope, x + F(T(k)), product);
      product = product * (x + F(T(k)));
    }
    found.value = select(nothing, F(0), found.value - select(small, log(product), F(0)));
    found.slope = found.slope - select(small, slope / product, F(0));
  }
  return found;
}

// Few: a whole number from 1 to kFew, whose Gamma functions are a product of as many factors.
inline constexpr int kFew = 8;
template <class F>
GK_INLINE auto is_few(F x) {
  return (x >= F(1)) & (x <= F(scalar_t<F>(kFew))) & (elementary::round(x, F(1)).value == x);
}

// -log p(x) = m - x l + log Gamma(x + 1) for a mean m, l = log m. Near the mean, with v = (m - x) / (m + x), the first
// and x log x - x are (m - x) v - 2 x v^3 (1 / 3 + v^2 / 5 + ...), which takes no difference (Loader 2000). Of few it
// is m - log(m^x / x!).
template <class F>
struct Poisson {
  static constexpr int kNumbers = 2;
  static constexpr bool kOfCounts = true;
  static constexpr bool kFlushes = false;
  static constexpr bool kEasyIfFew = true;
  using T = scalar_t<F>;
  // Of 0 ... 7.
  static constexpr T kInverseFactorials[] = {1,          1,           T(1. / 2),   T(1. / 6),
                                             T(1. / 24), T(1. / 120), T(1. / 720), T(1. / 5040)};
  bool log_rate, full, by_x;

  GK_INLINE explicit Poisson(const TermOptions& o) : log_rate(o.log_rate), full(o.full), by_x(o.by_x) {}

  GK_INLINE F value(F x, F rate) const {
    const Terms t = terms(x, rate);
    if (!full) return without_factorial(t);
    const LogFactorial<F> f = log_factorial(t.x);
    const F away = t.mean - t.x, v = away / (t.mean + t.x), v2 = v * v;
    const F near = fma(away, v, F(-2) * t.x * v * v2 * artanh_tail(v2)) + f.rest;
    return select((v2 < F(0.01f)) & (t.x >= F(9)), near, without_factorial(t) + f.value);
  }
  // Few: m^x / x! or, beside x l, 1 / x! is a normal number, from powers m, m^2, m^4 and m^8.
  GK_INLINE bool easy() const { return full; }
  GK_INLINE auto easy_as_few(F x, F rate) const {
    const F by = log_rate ? F(1) : rate;
    return (((x == F(0)) & (by >= F(0))) | (is_few(x) & (by > F(0x1p-13f)))) & (by < F(0x1p15f));
  }
  template <class Take>
  GK_INLINE void value_of_few(const Take& take) const {
    take(
        [&](Before, F x, F rate) {
          const auto n = elementary::round(x, F(1)).low;
          F product = Lanes<F>::look_up(kInverseFactorials, n), power = log_rate ? F(1) : rate;
          GK_UNROLL
          for (int bit = 1; bit <= 4; bit *= 2, power = power * power)
            product = select((n & bit) != 0, product * power, product);
          product = select((n & 8) != 0, power * F(T(1. / 40320)), product);
          return Numbers<F, 1>{{product}};
        },
        [&](const Numbers<F, 1>& product, F x, F rate) {
          return (log_rate ? without_factorial(terms(x, rate)) : rate) - elementary::log_normal(product.of[0]);
        });
  }
  GK_INLINE Numbers<F, 2> gradient(F x, F rate) const {
    F d_x(0);
    if (by_x) {
      const Terms t = terms(x, rate);
      d_x = full ? log_factorial(t.x).slope - t.log : -t.log;
    }
    const F count = counted(x);
    if (log_rate) return {{d_x, exp(rate) - count}};
    const auto infinite = abs(rate) == F(T(__builtin_huge_val()));
    const F slope = select(infinite, F(1) - F(0) * count, (rate - count) / rate);
    return {{d_x, select((x == F(0)) & (rate == F(0)), F(1), slope)}};
  }

 private:
  struct Terms {
    F x, mean, log;  // 0 for the logarithm of a mean of 0 where x is 0
  };

  static GK_INLINE F counted(F x) { return select(x > F(-1), x, x * F(T(elementary::kNaN))); }
  GK_INLINE Terms terms(F x, F rate) const {
    const F log_mean = log_rate ? rate : log(rate);
    const auto certain = (x == F(0)) & (log_mean == F(T(kMinusInfinity)));
    return {counted(x), log_rate ? exp(rate) : rate, select(certain, F(0), log_mean)};
  }
  static GK_INLINE F without_factorial(const Terms& t) { return t.mean - t.x * t.log; }
};

// What log Gamma(z + 1) has besides (z + 1/2) log z - z + log(2 pi) / 2, for z > 0, and its derivative. From 1 on, z
// and z^2 times them are polynomials in 1 / z, by Chebyshev expansions (docs/fit.py); below, at z + 1.
template <class F>
struct StirlingError {
  F value, slope;
};

template <class F>
GK_INLINE StirlingError<F> stirling_error(F z) {
  using T = scalar_t<F>;
  const auto small = z < F(1);
  const F at = select(small, z + F(1), z), inverse = F(1) / at, place = fma(F(2), inverse, F(-1));
  StirlingError<F> found;
  if constexpr (sizeof(T) == 8) {
    constexpr T c[] = {
        0.082681391910818612,   -0.0012300100649060367,  -0.00048510438810680478, 0.00010076829938315877,
        -1.2621640739946877e-6, -6.4040426432190864e-6,  2.5473626784700119e-6,   -4.2740368220462396e-7,
        -1.1714500431842724e-7, 1.2995811379479394e-7,   -6.0012778114366477e-8,  1.5495567040292991e-8,
        1.5859066977998686e-9,  -4.4767521285459783e-9,  2.3298080493149754e-9,   -9.2784759473413939e-10,
        1.1151509446971494e-9,  -4.7136548397545867e-10, -5.9078568821209339e-10, 4.4048868297137672e-10,
        6.0716417951758339e-11, -7.5359042099767859e-11};
    constexpr T d[] = {-0.08145138184591266,   0.0034302289060138824,  0.0011530082661819261,   -0.000398024540273605,
                       3.8331033523510612e-5,  2.3140056709383937e-5,  -1.4839717878621306e-5,  4.3566429188208407e-6,
                       -1.1523170179920317e-7, -7.0098604978255925e-7, 4.8906712043326302e-7,   -1.9937412102921686e-7,
                       4.0029707647856657e-8,  1.707212760752668e-8,   -2.6797065404628123e-8,  1.6399782474773545e-8,
                       -2.5914038505117281e-9, 6.405295922914414e-10,  -4.4349233925005495e-9,  6.9715394981058952e-10,
                       3.8263865076018918e-9,  -1.7322450745052848e-9, -7.2146738069059295e-10, 4.3335401984191984e-10};
    found = {elementary::polynomial(place, c) * inverse, elementary::polynomial(place, d) * (inverse * inverse)};
  } else {
    constexpr T c[] = {0.08268139374f,   -0.00123002687f,  -0.0004851612128f, 0.000100929892f,
                       -9.916990106e-7f, -6.835171791e-6f, 2.161214717e-6f};
    constexpr T d[] = {-0.08145138098f, 0.003430265224f,  0.001152964411f, -0.0003985027172f, 3.868840846e-5f,
                       2.481859603e-5f, -1.586506461e-5f, 2.257247799e-6f, 1.09331803e-6f};
    found = {elementary::polynomial(place, c) * inverse, elementary::polynomial(place, d) * (inverse * inverse)};
  }
  if (Masks<F>::any(small)) {
    const F fall = log1p(F(1) / z);
    found.value = found.value + select(small, fma(z + F(0.5f), fall, F(-1)), F(0));
    found.slope = found.slope + select(small, fall - (z + F(0.5f)) / (z * (z + F(1))), F(0));
  }
  return found;
}

// log(1 + v), given 1 + v, and v less it, which is never negative. With w = v / (2 + v) that is
// v w - 2 w^3 (1 / 3 + w^2 / 5 + ...) near 0.
template <class F>
struct LogAndLack {
  F log, lack;
};

template <class F>
GK_INLINE LogAndLack<F> log_and_lack(F v, F one_and_v) {
  using T = scalar_t<F>;
  const F w = v / (F(1) + one_and_v), w2 = w * w, by_log = log(one_and_v);
  const F lack = fma(v, w, F(-2) * w * w2 * artanh_tail(w2));
  const auto near = w2 < F(T(sizeof(T) == 8 ? 0.01 : 0.1));
  return {select(near, v - lack, by_log), select(near, lack, v - by_log)};
}

// -log p(x) of a negative binomial distribution of mean m and inverse dispersion t. With r = m / t, p = t / (t + m) and
// n = t + x it is, of a binomial distribution as Loader (2000) has it,
//   t l(v) + x l(y) + log(2 pi x n / t) / 2 + d(t) + d(x) - d(n),   v = (x - m) / (t + m),   y = p (m - x) / x,
// where l(v) = v - log(1 + v), d is stirling_error, 1 + v = n / (t + m) and 1 + y = (1 + v) m / x: nothing cancels, and
// what belongs to t alone vanishes as t grows. Below 1, where it is of order 1, by log Gamma. At 0 it is t log(1 + r).
// Few have that less the logarithm of the product of (t + k) q / (k + 1) over k = 0 ... x - 1, q = m / (t + m).
template <class F>
struct NegativeBinomial {
  using T = scalar_t<F>;
  static constexpr int kNumbers = 3;
  static constexpr bool kOfCounts = true;
  static constexpr bool kFlushes = false;
  static constexpr T kMost = static_cast<T>(sizeof(T) == 8 ? 1e150 : 1e30);  // inverse dispersion
  MeanParam param;
  bool log_dispersion, by_x;
  // Bounds of few: the product is a normal number, and the terms of the gradient by t do not cancel. There are none
  // where a gradient by x is asked for.
  T least_mean, most_mean, least_dispersion, most_dispersion;

  GK_INLINE explicit NegativeBinomial(const TermOptions& o)
      : param(o.mean), log_dispersion(o.log_dispersion), by_x(o.by_x) {
    const bool log_mean = param != MeanParam::value;
    const double least = logits() ? 0x1p-6 : 0x1p-12, log_least = logits() ? -6 : -12;
    least_mean = T(log_mean ? log_least * kLog2 : least);
    most_mean = T(log_mean ? 30 * kLog2 : 0x1p30);
    least_dispersion = T(log_dispersion ? log_least * kLog2 : least);
    most_dispersion = by_x ? T(kMinusInfinity) : T(log_dispersion ? 6 * kLog2 : 0x1p6);
  }

  // A count of 0 is known by this, unless a gradient by it is asked for.
  static constexpr bool kEasyAtZero = true;
  GK_INLINE bool easy_at_zero() const { return !by_x; }
  GK_INLINE auto easy_as_few(F x, F mean, F dispersion) const {
    return is_few(x) & (mean >= F(least_mean)) & (mean <= F(most_mean)) & (dispersion >= F(least_dispersion)) &
           (dispersion <= F(most_dispersion));
  }

  // A mean below 0 is nan, as is an inverse dispersion that is not above 0. Beyond the largest inverse dispersion is
  // the limit, a Poisson distribution; an infinite mean makes every count infinitely unlikely, with gradients of 0.
  struct Terms {
    F mean, theta, ratio, inverse, p, infinite;  // inverse: of mean + theta
  };
  GK_INLINE Terms terms(F given, F dispersion) const {
    const F nan = F(T(elementary::kNaN)), most = F(kFarthest<F>);
    const F positive = log_dispersion ? exp(dispersion) : select(dispersion > F(0), dispersion, nan);
    const F theta = min(F(kMost), positive);
    const F value = param == MeanParam::value ? select(given < F(0), nan, given) + F(0) : exp(given);
    const F ratio = min(most, logits() ? value : value / theta);
    const F mean = min(most, logits() ? ratio * theta : value), inverse = F(1) / (mean + theta);
    return {mean, theta, ratio, inverse, theta * inverse, select(value == F(T(__builtin_huge_val())), value, F(0))};
  }

  GK_INLINE F value_at_zero(const Terms& t) const { return t.theta * elementary::log_one_plus(t.ratio) + t.infinite; }
  template <class Take>
  GK_INLINE void value_at_zero(const Take& take) const {
    take([&](Before, F mean, F dispersion) { return value_at_zero(terms(mean, dispersion)); });
  }
  // Given log(1 + r).
  GK_INLINE elementary::LogOnePlus<F> log_ratio(const Terms& t) const {
    return elementary::log_one_plus(t.ratio, t.mean * t.inverse);
  }
  GK_INLINE Numbers<F, 3> gradient_at_zero(const Terms& t, elementary::LogOnePlus<F> log_ratio) const {
    return by(t, F(0), F(0), t.p * t.mean, logits() ? log_ratio.value : log_ratio.besides);
  }
  template <class Take>
  GK_INLINE void gradient_at_zero(const Take& take) const {
    take([&](Before, F mean, F dispersion) {
      const Terms t = terms(mean, dispersion);
      return gradient_at_zero(t, log_ratio(t));
    });
  }

  // -log p(x) of few is at_zero - log(product).
  struct FewTerms {
    F at_zero, product;
  };
  GK_INLINE FewTerms few_terms(F x, F mean, F dispersion) const {
    const Terms t = terms(mean, dispersion);
    const F q = t.mean * t.inverse, first = t.theta * q;
    F product = first;
    GK_UNROLL
    for (int k = 1; k < kFew; ++k) {
      const F factor = fma(first, F(T(1. / (k + 1))), q * F(T(double(k) / (k + 1))));
      product = select(x > F(T(k)), product * factor, product);
    }
    return {t.theta * elementary::log_one_plus(t.ratio), product};
  }
  GK_INLINE F value_of_few(F x, F mean, F dispersion) const {
    const FewTerms few = few_terms(x, mean, dispersion);
    return few.at_zero - elementary::log_normal(few.product);
  }
  // The gradient by t is log(1 + r) + (x - m) / (t + m) less the sum of 1 / (t + k). Where t is small the second is
  // nearly 1 / t, and both are one quotient, in whose numerator (x - 1) t - m - m t the first difference is rounded
  // once.
  GK_INLINE Numbers<F, 3> gradient_of_few(F x, F mean, F dispersion) const {
    const Terms t = terms(mean, dispersion);
    F slope(T(0)), product(T(1));
    GK_UNROLL
    for (int k = 1; k < kFew; ++k) {
      const auto beyond = x > F(T(k));
      const F factor = t.theta + F(T(k));
      slope = select(beyond, fma(slope, factor, product), slope);
      product = select(beyond, product * factor, product);
    }
    const F over = F(1) / t.theta, excess = t.p * (t.mean - x);
    const F first =
        logits() ? -over : fma(-t.mean, t.theta, product_less(x - F(1), t.theta, t.mean)) * over * t.inverse;
    return by(t, x, F(0), excess, elementary::log_one_plus(t.ratio) + (first - slope / product));
  }

  GK_INLINE F value(F x, F mean, F dispersion) const {
    const Terms t = terms(mean, dispersion);
    const F n = t.theta + x, over = F(1) / t.theta, excess = t.p * (t.mean - x);
    const auto low = x < F(1);
    const F at = select(low, F(1), x), one_and_v = n * t.inverse;
    const F d = stirling_error(t.theta).value - stirling_error(n).value;
    const F of_y = select(t.mean == F(0), F(0), max(F(kSmallest<F>), one_and_v * t.mean / at));
    F found =
        t.theta * log_and_lack((x - t.mean) * t.inverse, one_and_v).lack + at * log_and_lack(excess / at, of_y).lack +
        F(0.5f) * (log(F(T(6.283185307179586476925286766559)) * at) + log(n * over)) + stirling_error(at).value + d;
    if (Masks<F>::any(low)) {
      const F inside = select(x > F(-1), x, F(T(elementary::kNaN))), at_zero = t.theta * log1p(t.ratio);
      const F beyond =
          log_factorial(inside).value - x * log(one_and_v * t.mean) - (t.theta - F(0.5f)) * log1p(x * over) + x + d;
      found = select(low, select(x == F(0), at_zero, at_zero + beyond), found);
    }
    return found + t.infinite;
  }
  GK_INLINE Numbers<F, 3> gradient(F x, F mean, F dispersion) const {
    const Terms t = terms(mean, dispersion);
    const F n = t.theta + x, over = F(1) / t.theta, by_log_mean = t.p * (t.mean - x), one_and_v = n * t.inverse;
    const LogAndLack<F> l = log_and_lack((x - t.mean) * t.inverse, one_and_v);
    const F slope_n = stirling_error(n).slope;
    F by_theta = (logits() ? -l.log : l.lack) + (stirling_error(t.theta).slope - slope_n) - F(0.5f) * (x / n) * over;
    // Where t is small, 1 / t is in all of them, and in digamma(t) and the derivative at the mean.
    const auto low = (t.theta < F(1)) & !(x == F(0));
    if (Masks<F>::any(low)) {
      const F next = t.theta + F(1), rest = fma(-t.mean, t.theta, product_less(x - F(1), t.theta, t.mean));
      const F digammas = log(next / n) - F(0.5f) / next + F(0.5f) / n + stirling_error(next).slope - slope_n;
      by_theta = select(low, digammas + log1p(t.ratio) + (logits() ? -over : (rest * over) * t.inverse), by_theta);
    }
    F d_x(0);
    if (by_x) {
      const F next = select(x > F(-1), x + F(1), F(T(elementary::kNaN)));
      const F chance = one_and_v * t.mean, rate = select((x == F(0)) & (chance == F(0)), F(1), chance);
      d_x =
          stirling_error(next).slope - F(0.5f) / next - (slope_n - F(0.5f) / n) + log(min(F(kLargest<F>), next / rate));
    }
    return by(t, x, d_x, by_log_mean, by_theta);
  }

 private:
  GK_INLINE bool logits() const { return param == MeanParam::logits; }
  GK_INLINE Numbers<F, 3> by(const Terms& t, F x, F d_x, F by_log_mean, F by_theta) const {
    const auto beyond = t.infinite > F(0);
    const F by_value = select(x == F(0), t.p, by_log_mean / t.mean);
    const F by_mean = param == MeanParam::value ? by_value : by_log_mean;
    const F d = select(beyond | (t.theta == F(kMost)), F(0), log_dispersion ? t.theta * by_theta : by_theta);
    return {{select(beyond, F(0), d_x), select(beyond, F(0), by_mean), d}};
  }
};

// The same where a count is 0 with the probability sigmoid(logit) whatever the rest says: -log of
// s + (1 - s) exp(-b) at 0, of (1 - s) exp(-b) elsewhere.
template <class F>
struct ZeroInflated {
  using T = scalar_t<F>;
  static constexpr int kNumbers = 4;
  static constexpr bool kOfCounts = true;
  static constexpr bool kFlushes = false;
  NegativeBinomial<F> rest;

  GK_INLINE explicit ZeroInflated(const TermOptions& o) : rest(o) {}
  static constexpr bool kEasyAtZero = true;
  GK_INLINE bool easy_at_zero() const { return true; }
  GK_INLINE auto easy_as_few(F x, F mean, F dispersion, F) const { return rest.easy_as_few(x, mean, dispersion); }

  template <class Take>
  GK_INLINE void value_at_zero(const Take& take) const {
    take([&](Before, F mean, F dispersion,
             F) { return Numbers<F, 1>{{rest.value_at_zero(rest.terms(mean, dispersion))}}; },
         [&](const Numbers<F, 1>& made, F, F, F logit) {
           const Zero z = zero(made.of[0], logit);
           return Numbers<F, 2>{{made.of[0], z.missing / z.mass}};
         },
         [&](const Numbers<F, 2>& made, F, F, F logit) {
           const F b = made.of[0], odds = made.of[1], none = F(T(__builtin_huge_val()));
           const auto tiny = !(odds < F(T(1 / kNegligible<F>)));
           const F found = elementary::log_one_plus(odds);
           if (!Masks<F>::any(tiny)) return found;
           const F largest = max(logit, -b), other = log1p_unit(exp(-abs(logit + b)));
           return select(tiny, select(largest == -none, b - logit, softplus(logit) - (largest + other)), found);
         });
  }
  template <class Take>
  GK_INLINE void gradient_at_zero(const Take& take) const {
    take(
        [&](Before, F mean, F dispersion, F) {
          const typename NegativeBinomial<F>::Terms t = rest.terms(mean, dispersion);
          const elementary::LogOnePlus<F> log_ratio = rest.log_ratio(t);
          const Numbers<F, 3> d = rest.gradient_at_zero(t, log_ratio);
          return Numbers<F, 3>{{t.theta * log_ratio.value + t.infinite, d.of[1], d.of[2]}};
        },
        [&](const Numbers<F, 3>& made, F, F, F logit) {
          const F b = made.of[0];
          const Zero z = zero(b, logit);
          const F inverse = F(1) / (z.mass * z.all);
          F share = z.kept * z.all * inverse, by_logit = -(z.lost * z.missing * inverse);
          const auto tiny = !(z.mass > F(kNegligible<F>));
          if (Masks<F>::any(tiny)) {
            const F sum = logit + b, e = exp(-abs(sum));
            share = select(tiny, sigmoid(-sum, e), share);
            by_logit = select(tiny, -sigmoid(sum, e), by_logit);
          }
          const auto part = [&](F by) { return select(by == F(0), F(0), share * by); };
          return Numbers<F, 4>{{F(0), part(made.of[1]), part(made.of[2]), by_logit}};
        });
  }
  GK_INLINE F value_of_few(F x, F mean, F dispersion, F logit) const {
    const typename NegativeBinomial<F>::FewTerms few = rest.few_terms(x, mean, dispersion);
    const F all = F(1) + elementary::decay(abs(logit)).left;
    return few.at_zero + max(F(0), logit) - elementary::log_normal(few.product / all);
  }
  GK_INLINE Numbers<F, 4> gradient_of_few(F x, F mean, F dispersion, F logit) const {
    return with_loss(rest.gradient_of_few(x, mean, dispersion), logit);
  }
  GK_INLINE F value(F x, F mean, F dispersion, F logit) const {
    return rest.value(x, mean, dispersion) + softplus(logit);
  }
  GK_INLINE Numbers<F, 4> gradient(F x, F mean, F dispersion, F logit) const {
    return with_loss(rest.gradient(x, mean, dispersion), logit);
  }

 private:
  static GK_INLINE Numbers<F, 4> with_loss(const Numbers<F, 3>& d, F logit) {
    return {{d.of[0], d.of[1], d.of[2], sigmoid(logit)}};
  }

  // The parts of the mass at 0, each times 1 + e, with e = exp(-|logit|). A mass that is nearly 0, or nan, is taken by
  // logarithms.
  struct Zero {
    F all;      // 1
    F lost;     // s
    F kept;     // (1 - s) exp(-b)
    F mass;     // the sum of the two
    F missing;  // (1 - s) (1 - exp(-b)), which the mass lacks
  };
  GK_INLINE Zero zero(F b, F logit) const {
    const F e = elementary::decay(abs(logit)).left;
    const elementary::Decay<F> fall = elementary::decay(b);
    const auto positive = logit >= F(0);
    const F lost = select(positive, F(1), e), rest = select(positive, e, F(1)), kept = rest * fall.left;
    return {F(1) + e, lost, kept, kept + lost, rest * fall.gone};
  }
};

}  // namespace genkern
