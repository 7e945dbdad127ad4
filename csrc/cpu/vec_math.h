// exp, log, log1p and cos_sin_2pi on vectors. float by polynomials (within 1 to 2 ulp over the whole range,
// tests/test_math.py), double by the C library, lane by lane: training runs in float.
#pragma once

#include "cpu/vec.h"
#include "math/normal.h"

namespace genkern::GENKERN_ISA {

// x to the nearest integer, as float and as int: adding 1.5 * 2^23 leaves the integer in the low bits.
struct Rounded {
  F32 value;
  F32::Int integer;
};
GK_INLINE Rounded round(F32 x) {
  const F32 magic(0x1.8p23f);
  const F32 shifted = x + magic;
  return {shifted - magic, bits(shifted) - bits(magic)};
}

// exp(x) = 2^n exp(r), |r| <= ln2 / 2, with ln 2 in two parts (Cody & Waite 1980) and the minimax polynomial
// of Cephes' expf (Moshier 1992). 2^n is applied in two factors, so that denormal results round once more only.
GK_INLINE F32 exp(F32 x) {
  const F32 bounded = min(F32(89.0f), max(F32(-105.0f), x));  // in this order nan passes
  const Rounded n = round(bounded * F32(1.44269504088896341f));
  const F32 r = (bounded - n.value * F32(0.693359375f)) - n.value * F32(-2.12194440e-4f);
  F32 p = F32(1.9875691500e-4f);
  p = p * r + F32(1.3981999507e-3f);
  p = p * r + F32(8.3334519073e-3f);
  p = p * r + F32(4.1665795894e-2f);
  p = p * r + F32(1.6666665459e-1f);
  p = p * r + F32(5.0000001201e-1f);
  p = p * (r * r) + r + F32(1.0f);
  const F32::Int half = n.integer >> 1;
  const F32 scale_a = from_bits<float>((half + 127) << 23);
  const F32 scale_b = from_bits<float>((n.integer - half + 127) << 23);
  return p * scale_a * scale_b;
}

// log of a positive normal number: x = 2^e m, m in [sqrt(1/2), sqrt(2)), and Cephes' logf polynomial in m - 1,
// whose relative error stays small as x goes to 1.
GK_INLINE F32 log_normal(F32 x, F32 exponent_bias = F32(0.0f)) {
  const F32::Int shifted = bits(x) - 0x3F3504F3;
  const F32::Int exponent = shifted >> 23;
  const F32 e = F32(__builtin_convertvector(exponent, F32::Native)) - exponent_bias;
  const F32 f = from_bits<float>(bits(x) - (exponent << 23)) - F32(1.0f);
  const F32 f2 = f * f;
  F32 p = F32(7.0376836292e-2f);
  p = p * f + F32(-1.1514610310e-1f);
  p = p * f + F32(1.1676998740e-1f);
  p = p * f + F32(-1.2420140846e-1f);
  p = p * f + F32(1.4249322787e-1f);
  p = p * f + F32(-1.6668057665e-1f);
  p = p * f + F32(2.0000714765e-1f);
  p = p * f + F32(-2.4999993993e-1f);
  p = p * f + F32(3.3333331174e-1f);
  const F32 tail = p * f * f2 + e * F32(-2.12194440e-4f) - F32(0.5f) * f2;
  return (f + tail) + e * F32(0.693359375f);
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
  const F32 t = F32(4.0f) * u;
  const Rounded q = round(t);
  const F32 r = t - q.value;  // the angle is r pi / 2, |r| <= 1/2
  const F32 r2 = r * r;
  // Taylor series of sin(r pi / 2) and cos(r pi / 2); the first omitted terms are below 3e-9.
  F32 s = F32(1.6044118478735982e-4f);
  s = s * r2 + F32(-4.6817541353186881e-3f);
  s = s * r2 + F32(7.9692626246167046e-2f);
  s = s * r2 + F32(-6.4596409750624625e-1f);
  s = s * r2 * r + F32(1.5707963267948966f) * r;
  F32 c = F32(-2.5202042373060605e-5f);
  c = c * r2 + F32(9.1926027483942659e-4f);
  c = c * r2 + F32(-2.0863480763352961e-2f);
  c = c * r2 + F32(2.5366950790104802e-1f);
  c = c * r2 + F32(-1.2337005501361698f);
  c = c * r2 + F32(1.0f);
  const F32::Mask odd = (q.integer & 1) != 0;
  const F32::Int sign_c = ((q.integer + 1) & 2) << 30, sign_s = (q.integer & 2) << 30;
  return {from_bits<float>(bits(select(odd, s, c)) ^ sign_c), from_bits<float>(bits(select(odd, c, s)) ^ sign_s)};
}

#define GENKERN_BY_LANE(name)                                               \
  GK_INLINE F64 name(F64 x) {                                               \
    for (int i = 0; i < F64::lanes; ++i) x.v[i] = ::name(x.v[i]);           \
    return x;                                                               \
  }
GENKERN_BY_LANE(exp)
GENKERN_BY_LANE(log)
GENKERN_BY_LANE(log1p)
#undef GENKERN_BY_LANE

}  // namespace genkern::GENKERN_ISA
