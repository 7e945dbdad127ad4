// exp, log, log1p, sine and cosine, by polynomials (errors: docs/numerics.md). F is float, double or a vector of them,
// and no step is rounded differently for a number than for a vector: a sample has the same bits on every device that
// has fused multiply-adds.
#pragma once

#include <type_traits>

#include "math/scalar.h"

namespace genkern {

// Half of exp(x) - 1 - x and half of exp(x) - 1, each accurate near 0.
template <class F>
struct HalfExpm1 {
  F minus_x, value;
};

// exp(x / 2), and the above of x: one reduction for both.
template <class F>
struct ExpRoot {
  F root, minus_x, value;
};

namespace elementary {

// Whether F is double, or a vector of it; and a constant that each type has its own value of.
template <class F>
inline constexpr bool kWide = sizeof(scalar_t<F>) == 8;
template <class F>
GK_INLINE F number(double wide, float narrow) {
  if constexpr (kWide<F>)
    return F(wide);
  else
    return F(narrow);
}

inline constexpr float kInfinity = __builtin_huge_valf(), kNaN = __builtin_nanf("");

// ln 2 in two parts, of which the first has 32 digits: its product with an exponent is exact.
inline constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;

// c[0] + c[1] x + c[2] x^2 + ... by Horner's rule. (A tree of multiplications, shorter but with more of them, was no
// faster: these kernels are bound by throughput.)
template <class F, int N>
GK_INLINE F polynomial(F x, const scalar_t<F> (&c)[N]) {
  F y(c[N - 1]);
  GK_UNROLL
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, F(c[i]));
  return y;
}

// factor x to the nearest integer, as a number and, in float, as the lowest bits of another: adding 1.5 * 2^23, or
// 2^52, leaves it there. Of what lies above these nothing is left where they are shifted to the exponent.
template <class F>
struct Rounded {
  F value;
  typename Lanes<F>::Int low;
};
template <class F>
GK_INLINE Rounded<F> round(F x, F factor) {
  const F magic = number<F>(0x1.8p52, 0x1.8p23f);
  const F shifted = fma(x, factor, magic);
  return {shifted - magic, Lanes<F>::bits(shifted)};
}

// magnitude >= 0 with the sign of x, in double.
template <class F>
GK_INLINE F with_sign(F magnitude, F x) {
  return Lanes<F>::from_bits(Lanes<F>::bits(magnitude) | (Lanes<F>::bits(x) & Lanes<F>::kSign));
}

// x = n ln 2 + r with |r| <= ln2 / 2, ln 2 in two parts (Cody & Waite 1980), and tail = exp(r) - 1 - r: in float by the
// minimax polynomial of Cephes' expf (Moshier 1992), x within about +-1e6 ln 2; in double by a Chebyshev expansion
// (docs/fit.py), where tail has what rounding took from r besides.
//
// kToZero: r has the sign of x and |r| <= ln 2. Then nothing cancels in what expm1_from adds up, of which float, whose
// gradients need no more, goes without.
template <class F>
struct Reduced {
  Rounded<F> n;
  F r, tail;
};
template <bool kToZero = false, class F>
GK_INLINE Reduced<F> reduce_exp(F x) {
  if constexpr (kWide<F>) {
    const F log2e(1.4426950408889634);
    const Rounded<F> n = kToZero ? round(fma(x, log2e, -with_sign(F(0.5), x)), F(1)) : round(x, log2e);
    const F high = fma(n.value, F(-kLn2High), x), r = fma(n.value, F(-kLn2Low), high);
    const F lost = fma(n.value, F(-kLn2Low), high - r);
    if constexpr (kToZero) {
      constexpr double p[] = {0.16666666666666664,   0.04166666666666666,    0.0083333333333350852,
                              0.0013888888888891246, 0.00019841269838354014, 2.480158729864439e-5,
                              2.7557321303598484e-6, 2.7557320973129245e-7,  2.5051387551147583e-8,
                              2.0876223437176213e-9, 1.617890309907213e-10,  1.155140377309236e-11};
      return {n, r, fma(F(0.5) * r, r, fma(r * r * r, polynomial(r, p), lost))};  // r^2 / 2 rounds once
    } else {
      constexpr double p[] = {0.5,
                              0.16666666666666671,
                              0.041666666666666677,
                              0.0083333333333261346,
                              0.0013888888888879073,
                              0.00019841269874822308,
                              2.4801587336443601e-5,
                              2.7557255398338711e-6,
                              2.7557263277791582e-7,
                              2.5105217695684518e-8,
                              2.091813816945801e-9};
      return {n, r, fma(polynomial(r, p), r * r, lost)};
    }
  } else {
    const Rounded<F> n = round(x, F(1.44269504088896341f));
    const F r = fma(n.value, F(2.12194440e-4f), fma(n.value, F(-0.693359375f), x));
    constexpr float p[] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                           8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};
    return {n, r, polynomial(r, p) * (r * r)};
  }
}

// 2^n in double, for whole -1022 <= n <= 1023.
template <class F>
GK_INLINE F power_of_2(F n) {
  return Lanes<F>::from_bits((Lanes<F>::bits(n + F(0x1.8p52)) + 1023) << 52);
}

// a - b modulo 2^32: of what is replaced later, as the logarithm of -0, the difference may be none of the integers.
template <class Int, class Other>
GK_INLINE Int wrapping_difference(Int a, Other b) {
  if constexpr (std::is_same_v<Int, int32_t>) {
    return static_cast<Int>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
  } else {
    return a - b;
  }
}

// 2^(n + bias - 127) as the bits of a float, from the low bits of n, which are any where n is that of nan.
template <class Int>
GK_INLINE Int bits_of_power(Int low, int bias = 127) {
  return wrapping_difference(low << 23, -(bias << 23));
}

// 2^n for -126 <= n <= 127 (-1022 <= n <= 1023).
template <class F>
GK_INLINE F normal_power_of_2(Rounded<F> n) {
  if constexpr (kWide<F>)
    return power_of_2(n.value);
  else
    return Lanes<F>::from_bits(bits_of_power(n.low));
}

// m 2^n for -252 <= n <= 254 (-2044 <= n <= 2046), by two factors that are normal numbers: right where the result is
// not.
template <class F>
GK_INLINE F times_power_of_2(F m, Rounded<F> n) {
  if constexpr (Lanes<F>::kScales) {
    return Lanes<F>::scale(m, n.value);
  } else if constexpr (kWide<F>) {
    const F half = round(n.value, F(0.5)).value;
    return m * power_of_2(half) * power_of_2(n.value - half);
  } else {
    const auto half = n.low >> 1;
    return m * Lanes<F>::from_bits(bits_of_power(half)) * Lanes<F>::from_bits(bits_of_power(n.low - half));
  }
}

// The same where the result is a normal number too.
template <class F>
GK_INLINE F times_normal_power_of_2(F m, Rounded<F> n) {
  if constexpr (Lanes<F>::kScales)
    return Lanes<F>::scale(m, n.value);
  else
    return m * normal_power_of_2(n);
}

template <class F>
GK_INLINE F exp(F x) {
  // In this order nan passes.
  const Reduced<F> e = reduce_exp(min(number<F>(710.0, 89.0f), max(number<F>(-746.0, -105.0f), x)));
  return times_power_of_2((e.tail + e.r) + F(1), e.n);
}

// exp(x) for x <= 0, or above it by what was rounded, but 0 below the normal range, 1.2e-38 (2.2e-308), where an
// operation may take a hundred cycles: what is so far out in a tail is nothing beside what it is added to.
template <class F>
inline constexpr scalar_t<F> kTailEnd = static_cast<scalar_t<F>>(kWide<F> ? -708.0 : -87.0);
template <class F>
GK_INLINE F tail_exp(F x) {
  const Reduced<F> e = reduce_exp(max(F(kTailEnd<F>), x));
  return select(x < F(kTailEnd<F>), F(0), times_normal_power_of_2((e.tail + e.r) + F(1), e.n));
}

// exp(x) for x <= 0 as well, with all of its range: two factors are taken where a vector reaches into the tail.
template <class F>
GK_INLINE F falling_exp(F x) {
  const Reduced<F> e = reduce_exp(max(number<F>(-746.0, -105.0f), x));
  const F m = (e.tail + e.r) + F(1);
  if constexpr (sizeof(F) > sizeof(scalar_t<F>) && !Lanes<F>::kScales)
    if (!Masks<F>::any(x < F(kTailEnd<F>))) return times_normal_power_of_2(m, e.n);
  return times_power_of_2(m, e.n);
}

// exp(-x) for x >= 0, 0 from the tail's end on as above, and 1 - exp(-x), accurate near 0.
template <class F>
struct Decay {
  F left, gone;
};
template <class F>
GK_INLINE Decay<F> decay(F x) {
  const Reduced<F> e = reduce_exp<true>(max(F(kTailEnd<F>), -x));
  const F value = e.r + e.tail, s = normal_power_of_2(e.n);
  return {select(x > F(-kTailEnd<F>), F(0), fma(s, value, s)), fma(-s, value, F(1) - s)};
}

// The halves of exp(x) - 1 and exp(x) - 1 - x from x = n ln 2 + r and tail = exp(r) - 1 - r. With s = 2^n these are
// (s - 1) + s (r + tail) and (s - 1 - n ln 2) + (s - 1) r + s tail, where the first terms vanish exactly for n = 0 and
// cancel little elsewhere. half_s = s / 2 is a number where s = 2^128 (2^1024) is none.
template <class F>
GK_INLINE HalfExpm1<F> half_expm1_from(F half_s, F n, F r, F tail) {
  const F base = half_s - F(0.5f);
  const F value = fma(half_s, r + tail, base);
  if constexpr (kWide<F>) {
    const F low = fma(n, F(-0.5 * kLn2Low), half_s * tail);
    return {fma(n, F(-0.5 * kLn2High), base) + fma(base, r, low), value};
  } else {
    return {fma(n, F(-0.34657359028f), base) + fma(base, r, half_s * tail), value};
  }
}

// y, but infinite where exp(x) overflows.
template <class F>
GK_INLINE F or_infinite(F x, F y) {
  return select(x > number<F>(709.782712893384, 88.72283935546875f), F(kInfinity), y);
}

// Bounding x changes exp(x) - 1 - x by a difference that is put back, here and below.
template <class F>
GK_INLINE HalfExpm1<F> half_expm1(F x) {
  const F bounded = min(number<F>(709.8, 89.0f), max(F(-80.0f), x));
  const Reduced<F> e = reduce_exp<true>(bounded);
  F half_s;
  if constexpr (kWide<F>)
    half_s = power_of_2(e.n.value - F(1));
  else
    half_s = Lanes<F>::from_bits(bits_of_power(e.n.low, 126));
  const HalfExpm1<F> t = half_expm1_from(half_s, e.n.value, e.r, e.tail);
  return {or_infinite(x, t.minus_x + F(0.5f) * (bounded - x)), or_infinite(x, t.value)};
}

// The reduction is that of x / 2 = n ln 2 + h; then exp(x) has 2n, r = 2h, and with q = exp(h) - 1 the tail 2 tail +
// q^2. With kTail both root and square are 0 where tail_exp(x) is.
template <bool kTail, class F>
GK_INLINE ExpRoot<F> exp_root_terms(F x) {
  const F lowest = kTail ? F(scalar_t<F>(0.5) * kTailEnd<F> - scalar_t<F>(0.5)) : number<F>(-746.0, -105.0f);
  const F half = F(0.5f) * x, bounded = min(number<F>(710.0, 89.0f), max(lowest, half));
  const Reduced<F> e = reduce_exp<true>(bounded);
  const F q = e.r + e.tail, n = e.n.value + e.n.value;
  F half_s;
  if constexpr (kWide<F>) {
    half_s = power_of_2(min(F(1024), max(F(-80), n)) - F(1));  // 2^-80 is 0 beside 1; above 1024 the result is replaced
  } else if constexpr (Lanes<F>::kScales) {
    half_s = Lanes<F>::scale(F(0.5f), n);
  } else {
    // 2^-60 is 0 beside 1; above 128 the result is replaced.
    const typename Lanes<F>::Int zero = Lanes<F>::bits(F(0x1.8p23f)), least = zero - 30, most = zero + 64;
    const auto low = e.n.low > most ? most : e.n.low;
    half_s = Lanes<F>::from_bits(((low < least ? least : low) << 24) + 0x3F000000);
  }
  const F twice = e.r + e.r;
  F tail = e.tail + e.tail;
  if constexpr (kWide<F>)
    tail = fma(e.r, e.r, fma(e.tail, twice + e.tail, tail));  // q^2 without q's rounding
  else
    tail = fma(q, q, tail);
  const HalfExpm1<F> t = half_expm1_from(half_s, n, twice, tail);
  F root;
  if constexpr (kTail)
    root = select(x < F(kTailEnd<F>), F(0), times_normal_power_of_2(q + F(1), e.n));
  else
    root = times_power_of_2(q + F(1), e.n);
  return {root, or_infinite(x, t.minus_x + (bounded - half)), or_infinite(x, t.value)};
}

// (2 artanh(s) / s - 2) / s^2 from s^2, for the s = (m - 1) / (m + 1) of an m in [sqrt(1/2), sqrt(2)]: by Chebyshev
// expansions (docs/fit.py).
template <class F>
GK_INLINE F artanh_tail(F s2) {
  if constexpr (kWide<F>) {
    constexpr double p[] = {0.66666666666666697, 0.39999999999898945, 0.28571428626200962, 0.22222211101577205,
                            0.18182891336237831, 0.15331653799225821, 0.14617229114009047};
    return polynomial(s2, p);
  } else {
    constexpr float p[] = {6.666668516e-1f, 3.998874745e-1f, 2.958110197e-1f};
    return polynomial(s2, p);
  }
}

// An exponent e in its unit, and ln 2 over that unit in two parts: in float the unit is 2^23, as the bits have it.
template <class F>
struct Exponent {
  static constexpr bool kWide = elementary::kWide<F>;
  static constexpr scalar_t<F> kUnit = kWide ? 1.0 : 0x1p23;
  static constexpr scalar_t<F> kLn2High = kWide ? elementary::kLn2High : 0.693359375 * 0x1p-23;
  static constexpr scalar_t<F> kLn2Low = kWide ? elementary::kLn2Low : -2.12194440e-4 * 0x1p-23;
};

// log(2^e (1 + f)) and, for e = 0, what it has besides f: in float by Cephes' logf polynomial, whose relative error
// stays small as f goes to 0; in double by 2 artanh(s), s = f / (2 + f), as
//   f - f^2 / 2 + s (f^2 / 2 + 2 s^2 / 3 + ...),
// in fdlibm's order (Sun Microsystems 1993).
template <class F>
struct LogTerms {
  F value, besides;
};
template <class F>
GK_INLINE LogTerms<F> log_terms(F e, F f) {
  if constexpr (kWide<F>) {
    const F s = f / (F(2) + f), s2 = s * s, half = F(0.5) * f * f;
    const F less = half - fma(s, fma(s2, artanh_tail(s2), half), e * F(Exponent<F>::kLn2Low));
    return {fma(e, F(Exponent<F>::kLn2High), f - less), -less};
  } else {
    const F f2 = f * f;
    constexpr float p[] = {3.3333331174e-1f,  -2.4999993993e-1f, 2.0000714765e-1f,  -1.6668057665e-1f, 1.4249322787e-1f,
                           -1.2420140846e-1f, 1.1676998740e-1f,  -1.1514610310e-1f, 7.0376836292e-2f};
    const F tail = fma(F(-0.5f), f2, fma(polynomial(f, p), f * f2, e * F(Exponent<F>::kLn2Low)));
    return {fma(e, F(Exponent<F>::kLn2High), f + tail), tail};
  }
}
template <class F>
GK_INLINE F log_from(F e, F f) {
  return log_terms(e, f).value;
}

// A positive normal number as 2^e m, m in [sqrt(1/2), sqrt(2)).
template <class F>
struct Binary {
  F e, m;
};
template <class F>
GK_INLINE Binary<F> binary(F x) {
  if constexpr (kWide<F>) {
    const auto shifted = Lanes<F>::bits(x) + (0x3FF0000000000000u - 0x3FE6A09E667F3BCDu);
    return {Lanes<F>::from_bits((shifted >> 52) | 0x4330000000000000u) - F(0x1p52 + 1023),
            Lanes<F>::from_bits((shifted & 0x000FFFFFFFFFFFFFu) + 0x3FE6A09E667F3BCDu)};
  } else {
    const auto shifted = wrapping_difference(Lanes<F>::bits(x), 0x3F3504F3);
    const auto exponent = shifted & -0x800000;
    return {Lanes<F>::to_float(exponent), Lanes<F>::from_bits(wrapping_difference(Lanes<F>::bits(x), exponent))};
  }
}

// log of a positive normal number, over 2^exponent_bias.
template <class F>
GK_INLINE F log_normal(F x, F exponent_bias = F(0)) {
  const Binary<F> b = binary(x);
  return log_from(b.e - exponent_bias, b.m - F(1));
}

template <class F>
GK_INLINE F log(F x) {
  const auto tiny = x < number<F>(0x1p-1022, 0x1p-126f);
  F y = log_normal(select(tiny, x * number<F>(0x1p52, 0x1p23f), x),
                   select(tiny, F(Exponent<F>::kUnit * number<scalar_t<F>>(52.0, 23.0f)), F(0)));
  y = select(x < F(kInfinity), y, x + x);  // inf and nan
  y = select(x == F(0), F(-kInfinity), y);
  return select(x < F(0), F(kNaN), y);
}

// log(u) for u = 1 + x rounded, positive and normal, as 2^e (1 + f): what rounding took from u is put back
// into f, which is then x itself where e is 0.
template <class F>
struct SumTerms {
  F e, f;
};
template <class F>
GK_INLINE SumTerms<F> sum_terms(F x, F u) {
  const F lost = x - (u - F(1));
  if constexpr (kWide<F>) {
    const Binary<F> b = binary(u);
    return {b.e, fma(lost, power_of_2(max(F(-1022), -b.e)), b.m - F(1))};
  } else {
    using L = Lanes<F>;
    const auto shifted = wrapping_difference(L::bits(u), 0x3F3504F3), exponent = shifted & -0x800000;
    const F m = L::from_bits(wrapping_difference(L::bits(u), exponent)), scale = L::from_bits(0x3F800000 - exponent);
    return {L::to_float(exponent), fma(lost, scale, m - F(1))};
  }
}
template <class F>
GK_INLINE F log_of_sum(F x, F u) {
  const SumTerms<F> t = sum_terms(x, u);
  return log_from(t.e, t.f);
}

// log(1 + x): the rounding of u = 1 + x is undone, in float by the factor x / (u - 1) (Hewlett-Packard 1982).
template <class F>
GK_INLINE F log1p(F x) {
  const F u = F(1) + x;
  if constexpr (kWide<F>) {
    F y = select((u == F(1)) | (x == F(kInfinity)), x, log_of_sum(x, u));
    y = select(u == F(0), F(-kInfinity), y);
    return select(u < F(0), F(kNaN), y);
  } else {
    const F y = log(u) * (x / (u - F(1.0f)));
    return select((u == F(1.0f)) | (x == F(kInfinity)), x, y);
  }
}

// For x >= 0 or nan: log(1 + x), and log(1 + x) - x / (1 + x), for which the quotient is given.
template <class F>
struct LogOnePlus {
  F value, besides;
};
template <class F>
GK_INLINE LogOnePlus<F> log_one_plus(F x, F share) {
  const SumTerms<F> t = sum_terms(x, F(1) + x);
  const LogTerms<F> l = log_terms(t.e, t.f);
  return {l.value, select(t.e == F(0), fma(x, share, l.besides), l.value - share)};
}
template <class F>
GK_INLINE F log_one_plus(F x) {
  return log_of_sum(x, F(1) + x);
}

// log(1 + x) for 0 <= x <= 1, without a division in float: to undo the rounding of u = 1 + x, what it took is enough.
template <class F>
GK_INLINE F log1p_unit(F x) {
  const F u = F(1) + x;
  if constexpr (kWide<F>)
    return log_of_sum(x, u);
  else
    return log_normal(u) + (x - (u - F(1)));
}

// cos and sin of 2 pi u for u in [0, 1]. The quadrant splits off exactly, so only the polynomial rounds.
template <class F>
GK_INLINE Pair<F> cos_sin_2pi(F u) {
  const F magic = number<F>(0x1.8p52, 0x1.8p23f), shifted = fma(u, F(4), magic);  // as in round(u, 4)
  const F r = fma(u, F(4), magic - shifted);                                      // the angle is r pi / 2, |r| <= 1/2
  const F r2 = r * r;
  F s, c;
  if constexpr (kWide<F>) {
    // sin(r pi / 2) / r and (cos(r pi / 2) - 1) / r^2 by Chebyshev expansions (docs/fit.py).
    constexpr double sine[] = {1.5707963267948966,     -0.64596409750624432,   0.079692626246043041,
                               -0.0046817541323416189, 0.00016044115074714991, -3.5986433706134926e-6,
                               5.633936132273839e-8};
    constexpr double cosine[] = {-1.2337005501361698,    0.25366950790104782,    -0.020863480763340776,
                                 0.00091926027454690076, -2.5202039028462278e-5, 4.7106784209037802e-7,
                                 -6.3293983980383579e-9};
    s = polynomial(r2, sine) * r, c = fma(polynomial(r2, cosine), r2, F(1));
  } else {
    // Taylor series of sin(r pi / 2) / r and cos(r pi / 2); the first omitted terms are below 3e-9.
    constexpr float sine[] = {1.5707963267948966f, -6.4596409750624625e-1f, 7.9692626246167046e-2f,
                              -4.6817541353186881e-3f, 1.6044118478735982e-4f};
    constexpr float cosine[] = {1.0f,
                                -1.2337005501361698f,
                                2.5366950790104802e-1f,
                                -2.0863480763352961e-2f,
                                9.1926027483942659e-4f,
                                -2.5202042373060605e-5f};
    s = polynomial(r2, sine) * r, c = polynomial(r2, cosine);
  }
  // Each bit of the quadrant at the top: in odd ones sine and cosine change places; the sine is negative by the second
  // bit, the cosine where the two differ.
  using L = Lanes<F>;
  constexpr int top = 8 * sizeof(scalar_t<F>) - 1;
  const auto quadrant = L::bits(shifted), odd = quadrant << top, sign = (quadrant << (top - 1)) & L::kSign;
  return {L::from_bits(L::bits(L::where_negative(odd, s, c)) ^ (odd ^ sign)),
          L::from_bits(L::bits(L::where_negative(odd, c, s)) ^ sign)};
}

}  // namespace elementary

// The functions of a type, in the namespace that it comes from (cpu/vec_math.h). log_unit is the logarithm of numbers
// from 2^-126 to 1.
#define GENKERN_ELEMENTARY(F)                                                               \
  GK_INLINE F exp(F x) { return elementary::exp(x); }                                       \
  GK_INLINE F tail_exp(F x) { return elementary::tail_exp(x); }                             \
  GK_INLINE F falling_exp(F x) { return elementary::falling_exp(x); }                       \
  GK_INLINE F log(F x) { return elementary::log(x); }                                       \
  GK_INLINE F log_unit(F x) { return elementary::log_normal(x); }                           \
  GK_INLINE F log1p(F x) { return elementary::log1p(x); }                                   \
  GK_INLINE F log1p_unit(F x) { return elementary::log1p_unit(x); }                         \
  GK_INLINE HalfExpm1<F> half_expm1(F x) { return elementary::half_expm1(x); }              \
  GK_INLINE ExpRoot<F> exp_root_terms(F x) { return elementary::exp_root_terms<false>(x); } \
  GK_INLINE ExpRoot<F> tail_root_terms(F x) { return elementary::exp_root_terms<true>(x); } \
  GK_INLINE Pair<F> cos_sin_2pi(F u) { return elementary::cos_sin_2pi(u); }

GENKERN_ELEMENTARY(float)
GENKERN_ELEMENTARY(double)

}  // namespace genkern
