// The Gaussian family, an element at a time (sources and derivations: docs/numerics.md).
#pragma once

#include "math/scale.h"

namespace genkern {

// KL(q || p) = 1/2 (exp(d) - 1 - d + delta^2), d = log sigma_q^2 / sigma_p^2, delta = (loc - prior_loc) / sigma_p,
// with what its gradient needs.
template <class F>
struct Divergence {
  F value;
  F per_distance;  // 1 / sigma_p, but a number where delta is 0
  F delta;
  F half_expm1;  // (exp(d) - 1) / 2
};

template <class F>
GK_INLINE Divergence<F> divergence(const HalfExpm1<F>& d, F distance, F inverse_sigma_p) {
  const F per_distance = finite_at_zero(distance, inverse_sigma_p), delta = distance * per_distance;
  return {fma(F(0.5f) * delta, delta, d.minus_x), per_distance, delta, d.value};
}

// The divergence from N(0, I), or from a Gaussian with a scale of its own.
template <class F>
GK_INLINE Divergence<F> divergence(const Scale<F>& q, F delta) {
  return {fma(F(0.5f) * delta, delta, q.variance.minus_x), F(1), delta, q.variance.value};
}

template <class F, bool kPlain>
GK_INLINE Divergence<F> divergence(const ScaleMap<F, kPlain>& map, const Scale<F>& q, F delta, const Scale<F>& p) {
  return divergence(half_expm1(map.log_variance_ratio(q, p)), delta, map.inverse_sigma(p));
}

// Derivatives of the divergence by loc (and minus that by prior_loc), and by the two log variances, times a factor each
// for q and p. The factor comes first: what is not asked for has the gradient 0 even where a derivative overflows.
template <class F>
struct DivergenceGradient {
  F loc, prior_loc, logvar_q, logvar_p;
};

template <class F>
GK_INLINE DivergenceGradient<F> gradient(const Divergence<F>& kl, F to_q, F to_p) {
  const F p_delta = to_p * kl.delta;
  return {to_q * kl.delta * kl.per_distance, -(p_delta * kl.per_distance), to_q * kl.half_expm1,
          -fma(F(0.5f) * p_delta, kl.delta, to_p * kl.half_expm1)};
}

inline constexpr double kLog2Pi = 1.8378770664093454835606594728112;

// -log N(x; loc, sigma^2), standard = (x - loc) / sigma, without the constant. What is halved first may be squared
// where its square itself would overflow.
template <class F>
GK_INLINE F gaussian_nll(F standard, F logvar) {
  return fma(F(0.5f) * standard, standard, F(0.5f) * logvar);
}

// Derivatives of -log p(x) by the standardised x and by log sigma^2, times g, which comes first as above.
template <class F>
struct NllGradient {
  F standard, logvar;
};

template <class F>
GK_INLINE NllGradient<F> gaussian_nll_gradient(F standard, F g) {
  const F by_standard = g * standard;
  return {by_standard, fma(F(-0.5f) * by_standard, standard, F(0.5f) * g)};
}

template <class F>
GK_INLINE F gaussian_entropy(F logvar) {
  return F(0.5f) * (logvar + F(scalar_t<F>(1.0 + kLog2Pi)));
}

// z = loc + sigma e, e = temperature eps
template <class F>
GK_INLINE F gaussian_sample(F loc, F sigma, F e) {
  return fma(sigma, e, loc);
}

}  // namespace genkern
