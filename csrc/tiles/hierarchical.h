// The residual head of a hierarchical VAE: what happens to one tile, for every backend.
#pragma once

#include "kernels.h"
#include "math/hierarchical.h"

namespace genkern {

GK_INLINE bool is_plain(const GaussianResidual& a) { return is_plain(a.scale_options); }

template <class E>
struct ResidualInputs {
  using T = typename E::T;
  using F = typename E::F;
  const GaussianResidual& a;
  ScaleMap<F, E::kPlain> map{a.scale_options};
  F temperature{T(a.temperature)};
  typename E::Input prior_loc{a.prior_loc}, prior_scale{a.prior_scale}, delta_loc{a.delta_loc},
      delta_scale{a.delta_scale};
  typename E::Eps eps{a.noise, a.extent};

  GK_DEVICE explicit ResidualInputs(const GaussianResidual& a) : a(a) {}

  GK_DEVICE void fetch(const typename E::Span& s) {
    prior_loc.fetch(s);
    prior_scale.fetch(s);
    delta_loc.fetch(s);
    delta_scale.fetch(s);
    eps.fetch(s, 0);
  }
};

// The tile's values: the divergence, log q(z), log p(z).
template <class E>
struct GaussianResidualForwardTile {
  using T = typename E::T;
  using F = typename E::F;
  const GaussianResidualForward& a;
  ResidualInputs<E> in{a};
  typename E::Output z{a.z};
  F floor{T(a.free_nats)};

  GK_DEVICE explicit GaussianResidualForwardTile(const GaussianResidualForward& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* values) {
    const F constant(T(-0.5 * kLog2Pi));
    in.fetch(s);
    z.prepare(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const Scale<F> p = in.map(in.prior_scale[i]), d = in.map(in.delta_scale[i]);
      const F e = in.temperature * in.eps[i], delta = in.delta_loc[i];
      const Residual<F> r = residual(in.map, p, d, delta, e);
      z.set(i, residual_sample(F(in.prior_loc[i]), delta, p, d, e));
      values[0].set(i, max(floor, r.kl.value));
      values[1].set(i, r.log_q + constant);
      values[2].set(i, r.log_p + constant);
    }
    z.commit(s);
  }
};

template <class E>
struct GaussianResidualBackwardTile {
  static constexpr int kMostElements = 4;
  using T = typename E::T;
  using F = typename E::F;
  const GaussianResidualBackward& a;
  ResidualInputs<E> in{a};
  typename E::Input grad_z{a.grad_z};
  typename E::LossInput grad_kl{a.grad_kl}, grad_log_q{a.grad_log_q}, grad_log_p{a.grad_log_p};
  typename E::Output d_prior_loc{a.d_prior_loc}, d_prior_scale{a.d_prior_scale}, d_delta_loc{a.d_delta_loc},
      d_delta_scale{a.d_delta_scale}, d_eps{a.d_eps};
  F factor{T(a.factor)}, to_q{T(a.grad_scale_q)}, to_p{T(a.grad_scale_p)}, floor{T(a.free_nats)};

  GK_DEVICE explicit GaussianResidualBackwardTile(const GaussianResidualBackward& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    in.fetch(s);
    grad_z.fetch(s);
    grad_kl.fetch(s);
    grad_log_q.fetch(s);
    grad_log_p.fetch(s);
    d_prior_loc.prepare(s);
    d_prior_scale.prepare(s);
    d_delta_loc.prepare(s);
    d_delta_scale.prepare(s);
    d_eps.prepare(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const Scale<F> p = in.map(in.prior_scale[i]), d = in.map(in.delta_scale[i]);
      const F e = in.temperature * in.eps[i];
      const Residual<F> r = residual(in.map, p, d, F(in.delta_loc[i]), e);
      ResidualGradient<F, E::kPlain> g(in.map);
      if (grad_z) g.add_sample(F(grad_z[i]), p, d, e);
      if (grad_kl) {
        F g_kl = grad_kl[i] * factor;
        if (a.free_nats > 0.0) g_kl = select(r.kl.value < floor, F(T(0)), g_kl);  // nan passes
        g.add_kl(g_kl, to_q, to_p, p, d, r);
      }
      if (grad_log_q) g.add_log_q(grad_log_q[i] * factor, p, d, e);
      if (grad_log_p) g.add_log_p(grad_log_p[i] * factor, p, d, r, e);
      d_prior_loc.set(i, g.mu_p);
      d_prior_scale.set(i, in.map.through_clamp(p, g.raw_p));
      d_delta_loc.set(i, g.mu_d);
      d_delta_scale.set(i, in.map.through_clamp(d, g.raw_d));
      d_eps.set(i, in.temperature * g.e);
    }
    d_prior_loc.commit(s);
    d_prior_scale.commit(s);
    d_delta_loc.commit(s);
    d_delta_scale.commit(s);
    d_eps.commit(s);
  }
};

}  // namespace genkern
