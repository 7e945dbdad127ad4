// Likelihoods of data, an element at a time (sources and derivations: docs/numerics.md).
#pragma once

#include "math/gaussian.h"

namespace genkern {

// -log Laplace(x; loc, b), standard = (x - loc) / b, logvar = log b^2, without the constant log 2.
template <class F>
GK_INLINE F laplace_nll(F standard, F logvar) {
  return fma(F(0.5f), logvar, abs(standard));
}

template <class F>
GK_INLINE NllGradient<F> laplace_nll_gradient(F standard, F g) {
  const F sign = select(standard > F(0), F(1), select(standard < F(0), F(-1), F(0) * standard));  // nan stays nan
  return {g * sign, F(0.5f) * fma(-abs(standard), g, g)};
}

// -log p(x) = softplus(l) - x' l for a logit l, x' = x (1 - s) + s / 2 with the smoothing s: |l| w + log1p(e) with
// e = exp(-|l|), where w is what x' leaves to the less likely of the two outcomes. Nothing cancels. The derivatives are
// -l (1 - s), and sigmoid(l) - x'.
template <class F>
struct Bernoulli {
  static constexpr int kNumbers = 2;
  static constexpr bool kOfCounts = false;
  static constexpr bool kFlushes = true;
  F keep, half_smoothing;

  GK_INLINE explicit Bernoulli(const TermOptions& o)
      : keep(scalar_t<F>(1.0 - o.label_smoothing)), half_smoothing(scalar_t<F>(0.5 * o.label_smoothing)) {}

  GK_INLINE F value(F x, F logit) const {
    const Terms t = terms(x, logit);
    return fma(t.magnitude, t.weight, log1p_unit(t.tail));
  }
  GK_INLINE Numbers<F, 2> gradient(F x, F logit) const {
    const Terms t = terms(x, logit);
    return {{-(t.sign * t.magnitude * keep), t.sign * (t.weight - t.tail / (F(1) + t.tail))}};
  }

 private:
  struct Terms {
    F weight;     // w
    F magnitude;  // |l|, but 0 where an infinite logit is right and w = 0: infinity times nothing
    F tail;       // e
    F sign;       // of l; 1 for 0
  };

  GK_INLINE Terms terms(F x, F logit) const {
    const auto positive = logit >= F(0);
    const F weight = fma(select(positive, F(1) - x, x), keep, half_smoothing);
    const F magnitude = abs(logit);
    const auto certain = (magnitude == F(scalar_t<F>(__builtin_huge_val()))) & (weight == F(0));
    return {weight, select(certain, F(0), magnitude), tail_exp(-magnitude), select(positive, F(1), F(-1))};
  }
};

// The bin of a value, [a, b] = [u - w, u + w] in units of sigma from the mean, mirrored to where u >= 0; or, in a tail,
// [a, infinity), b being of no meaning.
template <class F>
struct Bin {
  using Mask = decltype(F() < F());
  F a, b, u, w;
  F side;  // -1 where it was mirrored
  Mask tail;
};

template <class F>
GK_INLINE Bin<F> bin_of(F x, F loc, F inverse_sigma, F half, F below, F above) {
  const auto low = x < below;
  const auto tail = low | (x > above);
  const F delta = x - loc;
  const F side = select(low, F(-1), select((delta < F(0)) & !tail, F(-1), F(1)));
  const F distance = side * delta;
  const F most(kFarthest<F>);
  return {within((distance - half) * inverse_sigma, most),
          within((distance + half) * inverse_sigma, most),
          within(distance * inverse_sigma, most),
          min(most, half * inverse_sigma),
          side,
          typename Bin<F>::Mask(tail)};
}

// The mass of a bin, exp(-exponent) value, by that of three forms which subtracts no nearly equal numbers; `lost` is
// what rounding took from a value near 1. With the gradient of -log mass, times g, which comes first (math/gaussian.h).
template <class F>
struct BinMass {
  F exponent, value, lost;
  NllGradient<F> gradient;
};

template <class F>
GK_INLINE F nll(const BinMass<F>& m) {
  return m.exponent - (log(m.value) + m.lost);
}

// The mean of exp(-u t - t^2 / 2) over |t| < w, for y = u w <= 1/2 and w <= 1/2: the sum of He_2m(u) w^2m / (2m + 1)!
// by the recurrence of the Hermite polynomials.
template <class F>
GK_INLINE F mean_over_bin(F y, F w) {
  constexpr int terms = sizeof(scalar_t<F>) == 8 ? 10 : 5;
  constexpr auto coefficient = inverse_factorials<scalar_t<F>, 2 * terms>();
  const F y2 = y * y, w2 = w * w, w4 = w2 * w2;
  F before(scalar_t<F>(0)), term(scalar_t<F>(1)), total(scalar_t<F>(0));
  GK_UNROLL
  for (int n = 0; n < 2 * terms; n += 2) {
    const F next = fma(fma(w2, F(scalar_t<F>(-(2 * n + 1))), y2), term, F(scalar_t<F>(-n * (n - 1))) * w4 * before);
    before = term;
    term = next;
    total = fma(term, F(coefficient.value[n + 1]), total);
  }
  return F(1) + total;
}

// Under the normal distribution. phi(t) is its density, Q(t) the mass beyond t.
//   narrow, where w and y = u w are small: 2 w phi(u) mean_over_bin
//   about the mean: 1 - Q(-a) - Q(b)
//   to one side: Q(a) - Q(b) = exp(-a^2 / 2) (scaled_tail(a) - exp(-2 y) scaled_tail(b))
// The gradients are (phi(a) - phi(b)) / mass by u, and (b phi(b) - a phi(a)) / mass by log sigma, with phi(b) / phi(a)
// = exp(-2 y).
// Where a bin is so narrow that w^2 is nothing beside 1, its mass is the density times its width. Its w may have lost
// all digits there, so log_w, the logarithm, comes by itself.
template <class F>
GK_INLINE BinMass<F> normal_mass(const Bin<F>& bin, F log_w, F g) {
  using T = scalar_t<F>;
  constexpr double inverse_sqrt_2pi = 0.39894228040143267793994605993438;
  const F y = select(bin.tail, F(T(1e4)), bin.u * bin.w);  // exp(-2e4): nothing beyond b
  const auto narrow = (bin.w <= F(0.5f)) & (y <= F(0.5f));
  const auto point = (bin.w < F(T(sizeof(T) == 8 ? 1e-8 : 1e-4))) & narrow;
  const auto inside = (bin.a < F(0)) & !narrow;
  const ExpRoot<F> fall = tail_root_terms(F(-2) * y);
  const F ratio = fall.root * fall.root, fallen = F(-2) * fall.value;
  const F beyond_a = scaled_tail(abs(bin.a)), beyond_b = ratio * scaled_tail(abs(bin.b));
  const F density = tail_exp(F(-0.5f) * select(narrow, bin.w * bin.w, bin.a * bin.a));
  const F outside = density * (beyond_a + beyond_b), rest = F(1) - outside;
  const F middle = F(T(2 * inverse_sqrt_2pi)) * select(point, F(1), bin.w) * mean_over_bin(y, bin.w);
  const F value = select(narrow, middle, select(inside, rest, beyond_a - beyond_b));
  const F edge = select(narrow, bin.u, bin.a);
  // phi(a) / mass: far out a of what is not beyond b, as exactly as numbers are.
  const auto far = (bin.a > F(T(1e9))) & !narrow;
  const F relative = F(T(inverse_sqrt_2pi)) * select(narrow, density / fall.root, select(inside, density, F(1)));
  const F at_a = g * select(far, bin.a, relative) / select(far, fallen, value);
  const F moment = select(narrow, bin.w * (F(1) + ratio) - bin.u * fallen, bin.b * ratio - bin.a);
  const F by_u = select(point, g * bin.u, at_a * fallen);
  const F by_log_sigma = select(point, fma(-(g * bin.u), bin.u, g), at_a * moment);
  return {select(inside, F(0), F(0.5f) * edge * edge) - select(point, log_w, F(0)),
          value,
          select(inside, (F(1) - rest) - outside, F(0)),
          {bin.side * by_u, F(0.5f) * by_log_sigma}};
}

// Under the distribution with the cdf 1/2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))), which is sigmoid(g(z)) with
//   g(z) = s z (1 + c z^2) and g(b) - g(a) = 2 s w (1 + c (3 u^2 + w^2)) = gap:
//   about the mean, where the gap is not small: 1 - sigmoid(g(a)) - sigmoid(-g(b))
//   elsewhere: (1 - exp(-gap)) sigmoid(g(b)) sigmoid(-g(a))
// In the gradients gap / (exp(gap) - 1) stands for w, and is 1 for a bin of no width. The bounds are far beyond what
// leaves anything before a or beyond b, and keep squares and cubes finite.
template <class F>
GK_INLINE BinMass<F> tanh_mass(const Bin<F>& bin, F log_w, F g) {
  using T = scalar_t<F>;
  constexpr double slope = 1.5957691216057307117597842397375, cube = 0.044715;
  const F far(T(1e12)), most(kSquarable<F>), s(T{slope}), c(T{cube}), nothing(T(1e4));
  const F a = max(-far, bin.a), b = within(bin.b, far), u = within(bin.u, most), w = min(most, bin.w);
  const F u2 = u * u, w2 = w * w, a2 = a * a, b2 = b * b;
  const F per_w = F(2) * s * fma(c, fma(F(3), u2, w2), F(1));  // gap / w
  const F gap = select(bin.tail, nothing, min(nothing, per_w * w));
  const F g_a = s * a * fma(c, a2, F(1)), g_b = select(bin.tail, nothing, s * b * fma(c, b2, F(1)));
  const ExpRoot<F> fall = tail_root_terms(-gap);
  const F ratio = fall.root * fall.root, fallen = F(-2) * fall.value;
  const F e_a = tail_exp(-abs(g_a)), e_b = tail_exp(-abs(g_b));
  const F by_a = F(1) / (F(1) + e_a), by_b = F(1) / (F(1) + e_b);
  const auto left = g_a < F(0);
  const auto inside = left & (gap > F(1));
  const auto point = (gap < F(kNegligible<F>));
  const F below_a = select(left, e_a, F(1)) * by_a, beyond_b = e_b * by_b;
  const F outside = below_a + beyond_b, rest = F(1) - outside;
  const F at_a = g * below_a * s * fma(F(3) * c, a2, F(1)), at_b = g * beyond_b * s * fma(F(3) * c, b2, F(1));
  const F by_gap = select(point, F(1), gap * ratio / fallen), q = g * by_gap * (F(2) * s / per_w);
  const F by_u = at_a - at_b - q * (F(6) * c * u);
  const F by_log_sigma = fma(q, fma(F(3) * c, fma(F(3), u2, w2), F(1)), b * at_b - a * at_a);
  return {max(F(0), g_a) - select(point, log_w, F(0)),
          select(inside, rest, select(point, per_w, fallen) * by_a * by_b),
          select(inside, (F(1) - rest) - outside, F(0)),
          {bin.side * by_u, F(0.5f) * by_log_sigma}};
}

}  // namespace genkern
