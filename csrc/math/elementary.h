// exp, log, log1p, sine and cosine in float, by polynomials (errors: docs/numerics.md). F is float or a vector of
// floats, and no step is rounded differently for one than for the other: a sample has the same bits on every device
// that has fused multiply-adds.
#pragma once

#include <type_traits>

#include "math/scalar.h"

namespace genkern {

// exp(x) - 1 - x and exp(x) - 1, each accurate near 0.
template <class F>
struct Expm1 {
  F minus_x, value;
};

// exp(x / 2), and the above of x: one reduction for both.
template <class F>
struct ExpRoot {
  F root;
  Expm1<F> square;
};

namespace elementary {

inline constexpr float kInfinity = __builtin_huge_valf(), kNaN = __builtin_nanf("");

// c[0] + c[1] x + c[2] x^2 + ... by Horner's rule. (A tree of multiplications, shorter but with more of them, was no
// faster: these kernels are bound by throughput.)
template <class F, int N>
GK_INLINE F polynomial(F x, const scalar_t<F> (&c)[N]) {
  F y(c[N - 1]);
  GK_UNROLL
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, F(c[i]));
  return y;
}

// factor x to the nearest integer, as float and as int: adding 1.5 * 2^23 leaves the integer in the low bits.
template <class F>
struct Rounded {
  F value;
  typename Lanes<F>::Int integer;
};
template <class F>
GK_INLINE Rounded<F> round(F x, F factor) {
  const F magic(0x1.8p23f);
  const F shifted = fma(x, factor, magic);
  return {shifted - magic, Lanes<F>::bits(shifted) - Lanes<F>::bits(magic)};
}

// x = n ln 2 + r with |r| <= ln2 / 2, ln 2 in two parts (Cody & Waite 1980), and tail = exp(r) - 1 - r by the minimax
// polynomial of Cephes' expf (Moshier 1992). x within about +-1e6 ln 2.
template <class F>
struct Reduced {
  Rounded<F> n;
  F r, tail;
};
template <class F>
GK_INLINE Reduced<F> reduce_exp(F x) {
  const Rounded<F> n = round(x, F(1.44269504088896341f));
  const F r = fma(n.value, F(2.12194440e-4f), fma(n.value, F(-0.693359375f), x));
  constexpr float p[] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                         8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};
  return {n, r, polynomial(r, p) * (r * r)};
}

// m 2^n for -252 <= n <= 254, by two factors that are normal numbers: right where the result is not.
template <class F>
GK_INLINE F times_power_of_2(F m, Rounded<F> n) {
  if constexpr (Lanes<F>::kScales) return Lanes<F>::scale(m, n.value);
  const auto half = n.integer >> 1;
  return m * Lanes<F>::from_bits((half << 23) + 0x3F800000) *
         Lanes<F>::from_bits(((n.integer - half) << 23) + 0x3F800000);
}

template <class F>
GK_INLINE F exp(F x) {
  const Reduced<F> e = reduce_exp(min(F(89.0f), max(F(-105.0f), x)));  // in this order nan passes
  return times_power_of_2((e.tail + e.r) + F(1.0f), e.n);
}

// exp(x), but 0 below the normal range, 1.2e-38, where an operation may take a hundred cycles: what is so far out in a
// tail is nothing beside what it is added to.
inline constexpr float kTailEnd = -87.0f;
template <class F>
GK_INLINE F tail_exp(F x) {
  const Reduced<F> e = reduce_exp(min(F(89.0f), max(F(kTailEnd), x)));
  return select(x < F(kTailEnd), F(0.0f), times_power_of_2((e.tail + e.r) + F(1.0f), e.n));
}

// exp(x) - 1 and exp(x) - 1 - x from x = n ln 2 + r and tail = exp(r) - 1 - r. With s = 2^n they are
// (s - 1) + s (r + tail) and (s - 1 - n ln 2) + (s - 1) r + s tail, where the first terms vanish exactly for n = 0 and
// cancel little elsewhere. With half_s = s / 2, all by halves, so that s = 2^128 is a float too.
template <class F>
GK_INLINE Expm1<F> expm1_from(F half_s, F n, F r, F tail) {
  const F base = half_s - F(0.5f);
  const F minus_x = fma(n, F(-0.34657359028f), base) + fma(base, r, half_s * tail);
  const F value = fma(half_s, r + tail, base);
  return {minus_x + minus_x, value + value};
}

// Where exp(x) overflows, both are infinite; correction is what a bound on x took from exp(x) - 1 - x.
template <class F>
GK_INLINE Expm1<F> or_infinite(F x, Expm1<F> e, F correction) {
  const auto over = x > F(88.72283935546875f);
  const F inf(kInfinity);
  return {select(over, inf, e.minus_x + correction), select(over, inf, e.value)};
}

template <class F>
GK_INLINE Expm1<F> expm1_terms(F x) {
  const F bounded = min(F(89.0f), max(F(-80.0f), x));
  const Reduced<F> e = reduce_exp(bounded);
  const F half_s = Lanes<F>::from_bits((e.n.integer + 126) << 23);
  return or_infinite(x, expm1_from(half_s, e.n.value, e.r, e.tail), bounded - x);
}

// The reduction is that of x / 2 = n ln 2 + h; then exp(x) has 2n, r = 2h, and with q = exp(h) - 1 the tail 2 tail +
// q^2. With kTail both root and square are 0 where tail_exp(x) is.
template <bool kTail, class F>
GK_INLINE ExpRoot<F> exp_root_terms(F x) {
  const F bounded = min(F(89.0f), max(F(kTail ? 0.5f * kTailEnd - 0.5f : -105.0f), F(0.5f) * x));
  const Reduced<F> e = reduce_exp(bounded);
  const F q = e.r + e.tail;
  // 2^-60 is 0 beside 1; above 254 the result is replaced. A shift wraps, where n is that of nan.
  const typename Lanes<F>::Int even = e.n.integer << 1, zero{};
  const Rounded<F> twice{e.n.value + e.n.value, even < -60 ? zero - 60 : even};
  const Expm1<F> t = expm1_from(times_power_of_2(F(0.5f), twice), twice.value, e.r + e.r, fma(q, q, e.tail + e.tail));
  F root = times_power_of_2(q + F(1.0f), e.n);
  if constexpr (kTail) root = select(x < F(kTailEnd), F(0.0f), root);
  return {root, or_infinite(x, t, bounded + bounded - x)};
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

// log of a positive normal number: x = 2^e m, m in [sqrt(1/2), sqrt(2)), and Cephes' logf polynomial in m - 1,
// whose relative error stays small as x goes to 1.
template <class F>
GK_INLINE F log_normal(F x, F exponent_bias = F(0.0f)) {
  const auto shifted = wrapping_difference(Lanes<F>::bits(x), 0x3F3504F3);
  const F e = Lanes<F>::to_float(shifted >> 23) - exponent_bias;
  const F f = Lanes<F>::from_bits(wrapping_difference(Lanes<F>::bits(x), shifted & -0x800000)) - F(1.0f);
  const F f2 = f * f;
  constexpr float p[] = {3.3333331174e-1f,  -2.4999993993e-1f, 2.0000714765e-1f,  -1.6668057665e-1f, 1.4249322787e-1f,
                         -1.2420140846e-1f, 1.1676998740e-1f,  -1.1514610310e-1f, 7.0376836292e-2f};
  const F tail = fma(F(-0.5f), f2, fma(polynomial(f, p), f * f2, e * F(-2.12194440e-4f)));
  return fma(e, F(0.693359375f), f + tail);
}

template <class F>
GK_INLINE F log(F x) {
  const auto tiny = x < F(0x1p-126f);
  F y = log_normal(select(tiny, x * F(0x1p23f), x), select(tiny, F(23.0f), F(0.0f)));
  y = select(x < F(kInfinity), y, x + x);  // inf and nan
  y = select(x == F(0.0f), F(-kInfinity), y);
  return select(x < F(0.0f), F(kNaN), y);
}

// log(1 + x): the rounding of u = 1 + x is undone by the factor x / (u - 1) (Hewlett-Packard 1982).
template <class F>
GK_INLINE F log1p(F x) {
  const F u = F(1.0f) + x;
  const F y = log(u) * (x / (u - F(1.0f)));
  return select((u == F(1.0f)) | (x == F(kInfinity)), x, y);
}

// log(1 + x) for 0 <= x <= 1, without a division: to undo the rounding of u = 1 + x, what it took is enough.
template <class F>
GK_INLINE F log1p_unit(F x) {
  const F u = F(1.0f) + x;
  return log_normal(u) + (x - (u - F(1.0f)));
}

// cos and sin of 2 pi u for u in [0, 1]. The quadrant splits off exactly, so only the polynomial rounds.
template <class F>
GK_INLINE Pair<F> cos_sin_2pi(F u) {
  const Rounded<F> q = round(u, F(4.0f));
  const F r = fma(u, F(4.0f), -q.value);  // the angle is r pi / 2, |r| <= 1/2
  const F r2 = r * r;
  // Taylor series of sin(r pi / 2) / r and cos(r pi / 2); the first omitted terms are below 3e-9.
  constexpr float sine[] = {1.5707963267948966f, -6.4596409750624625e-1f, 7.9692626246167046e-2f,
                            -4.6817541353186881e-3f, 1.6044118478735982e-4f};
  constexpr float cosine[] = {1.0f,
                              -1.2337005501361698f,
                              2.5366950790104802e-1f,
                              -2.0863480763352961e-2f,
                              9.1926027483942659e-4f,
                              -2.5202042373060605e-5f};
  const F s = polynomial(r2, sine) * r, c = polynomial(r2, cosine);
  const auto odd = (q.integer & 1) != 0;
  const auto sign_c = ((q.integer + 1) & 2) << 30, sign_s = (q.integer & 2) << 30;
  return {Lanes<F>::from_bits(Lanes<F>::bits(select(odd, s, c)) ^ sign_c),
          Lanes<F>::from_bits(Lanes<F>::bits(select(odd, c, s)) ^ sign_s)};
}

}  // namespace elementary

GK_INLINE float exp(float x) { return elementary::exp(x); }
GK_INLINE float tail_exp(float x) { return elementary::tail_exp(x); }
GK_INLINE float log(float x) { return elementary::log(x); }
GK_INLINE float log1p(float x) { return elementary::log1p(x); }
GK_INLINE float log1p_unit(float x) { return elementary::log1p_unit(x); }
GK_INLINE double log1p_unit(double x) { return log1p(x); }
GK_INLINE Expm1<float> expm1_terms(float x) { return elementary::expm1_terms(x); }
GK_INLINE ExpRoot<float> exp_root_terms(float x) { return elementary::exp_root_terms<false>(x); }
GK_INLINE ExpRoot<float> tail_root_terms(float x) { return elementary::exp_root_terms<true>(x); }
GK_INLINE Pair<float> cos_sin_2pi(float u) { return elementary::cos_sin_2pi(u); }
// The logarithm of numbers from 2^-126 to 1.
GK_INLINE float log_unit(float x) { return elementary::log_normal(x); }
GK_INLINE double log_unit(double x) { return log(x); }

}  // namespace genkern
