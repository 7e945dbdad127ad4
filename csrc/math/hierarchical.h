// The residual head of a hierarchical VAE, an element at a time (Vahdat & Kautz 2020, NVAE, section 3.2; derivations:
// docs/numerics.md).
//
// p = N(mu_p, sigma_p^2), q = N(mu_p + mu_d, (sigma_p sigma_d)^2), e = temperature eps. `p` and `d` are what a ScaleMap
// makes of the prior's and the residual's raw scale.
#pragma once

#include "math/gaussian.h"

namespace genkern {

template <class F>
struct Residual {
  Divergence<F> kl;  // kl.value; kl.delta = mu_d / sigma_p, kl.half_expm1 = (sigma_d^2 - 1) / 2
  F u;               // (z - mu_p) / sigma_p = mu_d / sigma_p + sigma_d e
  F log_q, log_p;    // without -1/2 log 2 pi
};

template <class F, bool kPlain>
GK_INLINE Residual<F> residual(const ScaleMap<F, kPlain>& map, const Scale<F>& p, const Scale<F>& d, F mu_d, F e) {
  const Divergence<F> kl = divergence(d.variance, mu_d, map.inverse_sigma(p));
  const F u = fma(d.sigma, e, kl.delta);
  // Field by field, as GCC copies a struct that goes into another by way of memory.
  return {{kl.value, kl.per_distance, kl.delta, kl.half_expm1},
          u,
          -gaussian_nll(e, p.logvar + d.logvar),
          -gaussian_nll(u, p.logvar)};
}

template <class F>
GK_INLINE F residual_sample(F mu_p, F mu_d, const Scale<F>& p, const Scale<F>& d, F e) {
  return gaussian_sample(mu_p + mu_d, p.sigma * d.sigma, e);
}

// Sums of gradients, from 0: by the locations, by the clamped raw scales, and by e. An output whose cotangent is
// absent is left out, not added with 0, so that its infinities leave no nan.
template <class F, bool kPlain>
struct ResidualGradient {
  const ScaleMap<F, kPlain>& map;
  F mu_p, raw_p, mu_d, raw_d, e;

  // Written out: a constructor that the compiler makes is not compiled for the vectors' instruction set.
  GK_INLINE explicit ResidualGradient(const ScaleMap<F, kPlain>& map)
      : map(map), mu_p(F(0)), raw_p(F(0)), mu_d(F(0)), raw_d(F(0)), e(F(0)) {}

  GK_INLINE void add_sample(F g, const Scale<F>& p, const Scale<F>& d, F e_value) {
    const F by_scale = g * e_value;
    mu_p = mu_p + g;
    mu_d = mu_d + g;
    raw_p = fma(by_scale * d.sigma, p.d_sigma, raw_p);
    raw_d = fma(by_scale * p.sigma, d.d_sigma, raw_d);
    e = fma(g * p.sigma, d.sigma, e);
  }

  // The derivatives by q's location and log variance reach all four arguments, those by p's the prior alone.
  GK_INLINE void add_kl(F g, F to_q, F to_p, const Scale<F>& p, const Scale<F>& d, const Residual<F>& r) {
    const F crossing = to_q - to_p, g_p = to_p * g;
    const DivergenceGradient<F> by = gradient(r.kl, to_q * g, g_p);  // by.logvar_p = -(by.logvar_q + g_p delta^2 / 2)
    const DivergenceGradient<F> both = gradient(r.kl, crossing * g, F(0));
    // Infinities cancel where the terms do.
    const F logvar = select(crossing == F(0), F(0), both.logvar_q);
    mu_d = mu_d + by.loc;
    raw_d = raw_d + map.by_clamped(d, by.logvar_q);
    mu_p = mu_p + select(crossing == F(0), F(0), both.loc);
    raw_p = raw_p + map.by_clamped(p, fma(F(-0.5f) * g_p * r.kl.delta, r.kl.delta, logvar));
  }

  GK_INLINE void add_log_q(F g, const Scale<F>& p, const Scale<F>& d, F e_value) {
    const F half = F(-0.5f) * g;
    raw_p = raw_p + map.by_clamped(p, half);
    raw_d = raw_d + map.by_clamped(d, half);
    e = fma(-g, e_value, e);
  }

  // By u: -u. By log sigma_p^2: -1/2 itself, and u by it: -delta / 2. By sigma_d, u by it: e.
  GK_INLINE void add_log_p(F g, const Scale<F>& p, const Scale<F>& d, const Residual<F>& r, F e_value) {
    const F by_u = -(g * r.u);
    mu_d = mu_d + times(by_u, r.kl.per_distance);
    const F by_delta = select(r.kl.delta == F(0), F(0), by_u * r.kl.delta);  // 0 where u is no number, too
    raw_p = raw_p + map.by_clamped(p, F(-0.5f) * (by_delta + g));
    raw_d = fma(by_u * e_value, d.d_sigma, raw_d);
    e = fma(by_u, d.sigma, e);
  }
};

}  // namespace genkern
