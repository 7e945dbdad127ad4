// Samples of a Gaussian and its divergence: what happens to one tile, for every backend (as tiles/gaussian.h).
#pragma once

#include "kernels.h"
#include "math/gaussian.h"

namespace genkern {

// E::kPlain: the scales are plain (math/scale.h) and p is N(0, I).
GK_INLINE bool is_plain(const GaussianHead& a) { return is_plain(a.scale_options) && !a.prior_loc && !a.prior_scale; }

// q, p and the noise of a tile.
template <class E>
struct HeadInputs {
  using T = typename E::T;
  using F = typename E::F;
  const GaussianHead& a;
  ScaleMap<F, E::kPlain> map{a.scale_options};
  F temperature{T(a.temperature)};
  typename E::Input loc{a.loc}, scale{a.scale}, prior_loc{a.prior_loc}, prior_scale{a.prior_scale};
  typename E::Eps eps{a.noise, a.extent};

  GK_DEVICE explicit HeadInputs(const GaussianHead& a) : a(a) {}

  GK_DEVICE void fetch(const typename E::Span& s) {
    loc.fetch(s);
    scale.fetch(s);
    if (E::kPlain) return;
    prior_loc.fetch(s);
    prior_scale.fetch(s);
  }
  GK_DEVICE bool has_prior_scale() const { return !E::kPlain && prior_scale; }
  GK_DEVICE F delta(int64_t i) const { return !E::kPlain && prior_loc ? loc[i] - prior_loc[i] : F(loc[i]); }
  GK_DEVICE Divergence<F> kl(int64_t i, const Scale<F>& q) const {
    return has_prior_scale() ? divergence(map, q, delta(i), map(prior_scale[i])) : divergence(q, delta(i));
  }
};

// The divergence alone.
template <class E>
struct GaussianKlForwardTile {
  using F = typename E::F;
  HeadInputs<E> in;
  F floor;

  GK_DEVICE explicit GaussianKlForwardTile(const GaussianHeadForward& a) : in(a), floor(typename E::T(a.free_nats)) {}

  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* kl) {
    in.fetch(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) kl->set(i, max(floor, in.kl(i, in.map(in.scale[i])).value));
  }
};

// Samples, one at least, with the divergence as the tile's value or without.
template <class E>
struct GaussianSampleForwardTile {
  using T = typename E::T;
  using F = typename E::F;
  using Span = typename E::Span;
  const GaussianHeadForward& a;
  HeadInputs<E> in;
  typename E::Output z;

  GK_DEVICE explicit GaussianSampleForwardTile(const GaussianHeadForward& a) : a(a), in(a), z(a.z) {}

  // The first sample shares a pass with the divergence, whose exponentials are the same.
  GK_DEVICE void operator()(const Span& s, typename E::Values* kl) {
    const F floor(T(a.free_nats));
    in.fetch(s);
    sample(s, 0, [&](int64_t i, const Scale<F>& q) { kl->set(i, max(floor, in.kl(i, q).value)); });
    GK_NO_UNROLL
    for (int64_t k = 1; k < a.samples; ++k) sample(s, k, [](int64_t, const Scale<F>&) {});
  }
  GK_DEVICE void operator()(const Span& s) {
    in.fetch(s);
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.samples; ++k) sample(s, k, [](int64_t, const Scale<F>&) {});
  }

 private:
  template <class Also>
  GK_DEVICE void sample(const Span& s, int64_t k, const Also& also) {
    in.eps.fetch(s, k);
    z.prepare(s, k * a.z_sample);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const Scale<F> q = in.map(in.scale[i]);
      also(i, q);
      z.set(i, gaussian_sample(F(in.loc[i]), q.sigma, in.temperature * in.eps[i]));
    }
    z.commit(s, k * a.z_sample);
  }
};

template <class E>
struct GaussianHeadBackwardTile {
  static constexpr int kMostElements = 4;
  using T = typename E::T;
  using F = typename E::F;
  using Span = typename E::Span;
  const GaussianHeadBackward& a;
  HeadInputs<E> in{a};
  typename E::Input grad_z{a.grad_z};
  typename E::LossInput grad_kl{a.grad_kl};
  typename E::Output d_loc{a.d_loc}, d_scale{a.d_scale}, d_prior_loc{a.d_prior_loc}, d_prior_scale{a.d_prior_scale},
      d_eps{a.d_eps};
  F factor{T(a.kl_factor)}, to_q{T(a.grad_scale_q)}, to_p{T(a.grad_scale_p)}, floor{T(a.free_nats)};
  typename E::Scratch sum_z, sum_z_eps;  // over several samples

  GK_DEVICE explicit GaussianHeadBackwardTile(const GaussianHeadBackward& a) : a(a) {}

  GK_DEVICE void operator()(const Span& s) {
    in.fetch(s);
    grad_kl.fetch(s);
    d_loc.prepare(s);
    d_scale.prepare(s);
    if (!E::kPlain) d_prior_loc.prepare(s), d_prior_scale.prepare(s);
    if (!grad_z || a.samples == 0) {
      if (d_eps) no_eps(s);
      gradients(s, [](int64_t, const Scale<F>&, F&, F&) {});
    } else if (!E::kOneCopy && a.samples == 1) {
      fetch_sample(s, 0);
      if (d_eps) by_eps(s, 0);
      gradients(s, [&](int64_t i, const Scale<F>& q, F& loc, F& scale) {
        loc = grad_z[i];
        scale = loc * in.temperature * in.eps[i] * q.d_sigma;
      });
    } else {
      sum_samples(s);
      gradients(s, [&](int64_t i, const Scale<F>& q, F& loc, F& scale) {
        loc = sum_z[i];
        scale = sum_z_eps[i] * q.d_sigma;
      });
    }
    d_loc.commit(s);
    d_scale.commit(s);
    if (!E::kPlain) d_prior_loc.commit(s), d_prior_scale.commit(s);
  }

 private:
  // by_sample(i, q, loc, scale): sets the gradients through z, which are 0 before.
  template <class BySample>
  GK_DEVICE void gradients(const Span& s, const BySample& by_sample) {
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const Scale<F> q = in.map(in.scale[i]);
      F loc(T(0)), scale(T(0));
      by_sample(i, q, loc, scale);
      if (grad_kl) {
        const F delta = in.delta(i);
        if (in.has_prior_scale()) {
          const Scale<F> p = in.map(in.prior_scale[i]);
          const F by_p = add(divergence(in.map, q, delta, p), i, q, loc, scale);
          d_prior_scale.set(i, in.map.by_raw(p, by_p));
        } else {
          add(divergence(q, delta), i, q, loc, scale);
        }
      } else if (!E::kPlain) {
        d_prior_loc.set(i, F(T(0)));
        d_prior_scale.set(i, F(T(0)));
      }
      d_loc.set(i, loc);
      d_scale.set(i, in.map.through_clamp(q, scale));
    }
  }

  // Adds the divergence's part for q and sets that of prior_loc; the gradient by p's log variance is returned.
  GK_DEVICE F add(const Divergence<F>& kl, int64_t i, const Scale<F>& q, F& loc, F& scale) {
    F g = grad_kl[i] * factor;
    if (a.free_nats > 0.0) g = select(kl.value < floor, F(T(0)), g);  // nan passes
    const DivergenceGradient<F> d = gradient(kl, to_q * g, to_p * g);
    loc = loc + d.loc;
    scale = scale + in.map.by_clamped(q, d.logvar_q);
    if (!E::kPlain) d_prior_loc.set(i, d.prior_loc);
    return d.logvar_p;
  }

  GK_DEVICE void fetch_sample(const Span& s, int64_t k) {
    in.eps.fetch(s, k);
    grad_z.fetch(s, k * a.grad_z_sample);
  }
  GK_DEVICE void by_eps(const Span& s, int64_t k) {
    d_eps.prepare(s, k * a.d_eps_sample);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes)
        d_eps.set(i, grad_z[i] * in.temperature * in.map(in.scale[i]).sigma);
    d_eps.commit(s, k * a.d_eps_sample);
  }
  GK_DEVICE void no_eps(const Span& s) {
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.samples; ++k) {
      d_eps.prepare(s, k * a.d_eps_sample);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) d_eps.set(i, F(T(0)));
      d_eps.commit(s, k * a.d_eps_sample);
    }
  }
  GK_DEVICE void sum_samples(const Span& s) {
    GK_NO_UNROLL
    for (int64_t k = 0; k < a.samples; ++k) {
      fetch_sample(s, k);
      if (d_eps) by_eps(s, k);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const F g = grad_z[i], with_eps = g * in.temperature * in.eps[i];
        sum_z.set(i, k == 0 ? g : sum_z[i] + g);
        sum_z_eps.set(i, k == 0 ? with_eps : sum_z_eps[i] + with_eps);
      }
    }
  }
};

}  // namespace genkern
