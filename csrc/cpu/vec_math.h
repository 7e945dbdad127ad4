// exp, log, log1p and cos_sin_2pi on vectors. float by polynomials (errors: docs/numerics.md),
// double by the C library, lane by lane: training runs in float.
#pragma once

#include "cpu/vec.h"
#include "math/normal.h"
#include "math/numeric.h"

namespace genkern::GENKERN_ISA {

// c[0] + c[1] x + c[2] x^2 + ... by Horner's rule. (A tree of multiplications, shorter but with more of them, was no
// faster: these kernels are bound by throughput.)
template <int N>
GK_INLINE F32 polynomial(F32 x, const float (&c)[N]) {
  F32 y(c[N - 1]);
  GK_UNROLL
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, F32(c[i]));
  return y;
}

// factor x to the nearest integer, as float and as int: adding 1.5 * 2^23 leaves the integer in the low bits.
struct Rounded {
  F32 value;
  F32::Int integer;
};
GK_INLINE Rounded round(F32 x, F32 factor) {
  const F32 magic(0x1.8p23f);
  const F32 shifted = fma(x, factor, magic);
  return {shifted - magic, bits(shifted) - bits(magic)};
}

// x = n ln 2 + r with |r| <= ln2 / 2, ln 2 in two parts (Cody & Waite 1980), and tail = exp(r) - 1 - r by the minimax
// polynomial of Cephes' expf (Moshier 1992). x within about +-1e6 ln 2.
struct Reduced {
  Rounded n;
  F32 r, tail;
};
GK_INLINE Reduced reduce_exp(F32 x) {
  const Rounded n = round(x, F32(1.44269504088896341f));
  const F32 r = fma(n.value, F32(2.12194440e-4f), fma(n.value, F32(-0.693359375f), x));
  constexpr float p[] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                         8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};
  return {n, r, polynomial(r, p) * (r * r)};
}

// m 2^n, correct where the result is not normal.
GK_INLINE F32 times_power_of_2(F32 m, Rounded n) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (F32::Native)_mm512_maskz_scalef_ps(0xFFFF, (__m512)m.v, (__m512)n.value.v);
#else
  const F32::Int low = n.integer < -252 ? F32::Int{} - 252 : n.integer, bounded = low > 252 ? F32::Int{} + 252 : low;
  const F32::Int half = bounded >> 1;  // two factors, each a normal number
  return m * from_bits<float>((half + 127) << 23) * from_bits<float>((bounded - half + 127) << 23);
#endif
}

GK_INLINE F32 exp(F32 x) {
  const Reduced e = reduce_exp(min(F32(89.0f), max(F32(-105.0f), x)));  // in this order nan passes
  return times_power_of_2((e.tail + e.r) + F32(1.0f), e.n);
}

// exp(x) - 1 and exp(x) - 1 - x from x = n ln 2 + r and tail = exp(r) - 1 - r. With s = 2^n they are
// (s - 1) + s (r + tail) and (s - 1 - n ln 2) + (s - 1) r + s tail, where the first terms vanish exactly for n = 0 and
// cancel little elsewhere. With half_s = s / 2, all by halves, so that s = 2^128 is a float too.
GK_INLINE Expm1<F32> expm1_from(F32 half_s, F32 n, F32 r, F32 tail) {
  const F32 base = half_s - F32(0.5f);
  const F32 minus_x = fma(n, F32(-0.34657359028f), base) + fma(base, r, half_s * tail);
  const F32 value = fma(half_s, r + tail, base);
  return {minus_x + minus_x, value + value};
}

// Where exp(x) overflows, both are infinite; correction is what a bound on x took from exp(x) - 1 - x.
GK_INLINE Expm1<F32> or_infinite(F32 x, Expm1<F32> e, F32 correction) {
  const F32::Mask over = x > F32(88.72283935546875f);
  const F32 inf(__builtin_inff());
  return {select(over, inf, e.minus_x + correction), select(over, inf, e.value)};
}

GK_INLINE Expm1<F32> expm1_terms(F32 x) {
  const F32 bounded = min(F32(89.0f), max(F32(-80.0f), x));
  const Reduced e = reduce_exp(bounded);
  const F32 half_s = from_bits<float>((e.n.integer + 126) << 23);
  return or_infinite(x, expm1_from(half_s, e.n.value, e.r, e.tail), bounded - x);
}

// The reduction is that of x / 2 = n ln 2 + h; then exp(x) has 2n, r = 2h, and with q = exp(h) - 1 the tail 2 tail +
// q^2.
GK_INLINE ExpRoot<F32> exp_root_terms(F32 x) {
  const F32 bounded = min(F32(89.0f), max(F32(-105.0f), F32(0.5f) * x));
  const Reduced e = reduce_exp(bounded);
  const F32 q = e.r + e.tail;
  const Rounded twice{e.n.value + e.n.value, e.n.integer + e.n.integer};
  const Expm1<F32> t =
      expm1_from(times_power_of_2(F32(0.5f), twice), twice.value, e.r + e.r, fma(q, q, e.tail + e.tail));
  return {times_power_of_2(q + F32(1.0f), e.n), or_infinite(x, t, bounded + bounded - x)};
}

// log of a positive normal number: x = 2^e m, m in [sqrt(1/2), sqrt(2)), and Cephes' logf polynomial in m - 1,
// whose relative error stays small as x goes to 1.
GK_INLINE F32 log_normal(F32 x, F32 exponent_bias = F32(0.0f)) {
  const F32::Int shifted = bits(x) - 0x3F3504F3;
  const F32::Int exponent = shifted >> 23;
  const F32 e = F32(__builtin_convertvector(exponent, F32::Native)) - exponent_bias;
  const F32 f = from_bits<float>(bits(x) - (exponent << 23)) - F32(1.0f);
  const F32 f2 = f * f;
  constexpr float p[] = {3.3333331174e-1f,  -2.4999993993e-1f, 2.0000714765e-1f,  -1.6668057665e-1f, 1.4249322787e-1f,
                         -1.2420140846e-1f, 1.1676998740e-1f,  -1.1514610310e-1f, 7.0376836292e-2f};
  const F32 tail = fma(F32(-0.5f), f2, fma(polynomial(f, p), f * f2, e * F32(-2.12194440e-4f)));
  return fma(e, F32(0.693359375f), f + tail);
}

GK_INLINE F32 log(F32 x) {
  const F32::Mask tiny = x < F32(0x1p-126f);
  F32 y = log_normal(select(tiny, x * F32(0x1p23f), x), select(tiny, F32(23.0f), F32(0.0f)));
  y = select(x < F32(__builtin_inff()), y, x + x);  // inf and nan
  y = select(x == F32(0.0f), F32(-__builtin_inff()), y);
  return select(x < F32(0.0f), F32(__builtin_nanf("")), y);
}

// log(1 + x): the rounding of u = 1 + x is undone by the factor x / (u - 1) (Hewlett-Packard 1982).
GK_INLINE F32 log1p(F32 x) {
  const F32 u = F32(1.0f) + x;
  const F32 y = log(u) * (x / (u - F32(1.0f)));
  return select((u == F32(1.0f)) | (x == F32(__builtin_inff())), x, y);
}

// cos and sin of 2 pi u for u in [0, 1]. The quadrant splits off exactly, so only the polynomial rounds.
GK_INLINE Pair<F32> cos_sin_2pi(F32 u) {
  const Rounded q = round(u, F32(4.0f));
  const F32 r = fma(u, F32(4.0f), -q.value);  // the angle is r pi / 2, |r| <= 1/2
  const F32 r2 = r * r;
  // Taylor series of sin(r pi / 2) / r and cos(r pi / 2); the first omitted terms are below 3e-9.
  constexpr float sine[] = {1.5707963267948966f, -6.4596409750624625e-1f, 7.9692626246167046e-2f,
                            -4.6817541353186881e-3f, 1.6044118478735982e-4f};
  constexpr float cosine[] = {1.0f,
                              -1.2337005501361698f,
                              2.5366950790104802e-1f,
                              -2.0863480763352961e-2f,
                              9.1926027483942659e-4f,
                              -2.5202042373060605e-5f};
  const F32 s = polynomial(r2, sine) * r, c = polynomial(r2, cosine);
  const F32::Mask odd = (q.integer & 1) != 0;
  const F32::Int sign_c = ((q.integer + 1) & 2) << 30, sign_s = (q.integer & 2) << 30;
  return {from_bits<float>(bits(select(odd, s, c)) ^ sign_c), from_bits<float>(bits(select(odd, c, s)) ^ sign_s)};
}

#define GENKERN_BY_LANE(name)                                     \
  GK_INLINE F64 name(F64 x) {                                     \
    for (int i = 0; i < F64::lanes; ++i) x.v[i] = ::name(x.v[i]); \
    return x;                                                     \
  }
GENKERN_BY_LANE(exp)
GENKERN_BY_LANE(log)
GENKERN_BY_LANE(log1p)
#undef GENKERN_BY_LANE

GK_INLINE Expm1<F64> expm1_terms(F64 x) { return expm1_by_series(x); }
GK_INLINE ExpRoot<F64> exp_root_terms(F64 x) { return {exp(F64(0.5) * x), expm1_terms(x)}; }

}  // namespace genkern::GENKERN_ISA
