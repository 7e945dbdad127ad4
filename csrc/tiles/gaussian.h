// The likelihood and the entropy of a Gaussian: what happens to one tile, for every backend. A tile is a few
// consecutive elements; the engine E that it is compiled against (cpu/launch.h, cuda/engine.cuh) says how many, how
// they are fetched and what becomes of results.
#pragma once

#include "kernels.h"
#include "math/gaussian.h"

namespace genkern {

// E::kPlain: the scales are plain (math/scale.h).
GK_INLINE bool is_plain(const LocScaleNll& a) { return is_plain(a.scale_options); }
GK_INLINE bool is_plain(const GaussianEntropy& a) { return is_plain(a.scale_options); }

// x and the parameters of a tile; a scale that is a number is the same as a tensor of that value everywhere.
template <class E>
struct NllInputs {
  using F = typename E::F;
  const LocScaleNll& a;
  ScaleMap<F, E::kPlain> map{a.scale_options};
  typename E::Input x{a.x}, loc{a.loc}, scale{a.scale};
  F value{typename E::T(a.scale_value)};

  GK_DEVICE explicit NllInputs(const LocScaleNll& a) : a(a) {}

  GK_DEVICE void fetch(const typename E::Span& s) {
    x.fetch(s);
    loc.fetch(s);
    scale.fetch(s);
  }
  GK_DEVICE Scale<F> sigma(int64_t i) const { return map(scale ? F(scale[i]) : value); }
};

// A density at one element: its negative logarithm, and g times the gradient of that.
template <class F>
struct GaussianDensity {
  F constant;

  GK_DEVICE explicit GaussianDensity(const LocScaleNll& a) : constant(scalar_t<F>(a.full ? 0.5 * kLog2Pi : 0.0)) {}
  GK_DEVICE F nll(F x, F loc, F inverse, F logvar) const {
    return gaussian_nll(times(x - loc, inverse), logvar) + constant;
  }
  GK_DEVICE NllGradient<F> gradient(F x, F loc, F inverse, F g) const {
    return gaussian_nll_gradient(times(x - loc, inverse), g);
  }
};

template <template <class> class Density>
struct LocScaleNllTiles {
  template <class E>
  struct Forward {
    using F = typename E::F;
    NllInputs<E> in;
    Density<F> density;

    GK_DEVICE explicit Forward(const LocScaleNllForward& a) : in(a), density(a) {}

    GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* nll) {
      in.fetch(s);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const Scale<F> sigma = in.sigma(i);
        nll->set(i, density.nll(F(in.x[i]), F(in.loc[i]), in.map.inverse_sigma(sigma), sigma.logvar));
      }
    }
  };

  // The gradient by scale is the tile's value where one scale serves a row: summed over rows.
  template <class E>
  struct Backward {
    using T = typename E::T;
    using F = typename E::F;
    using Span = typename E::Span;
    const LocScaleNllBackward& a;
    NllInputs<E> in{a};
    Density<F> density{a};
    typename E::LossInput grad{a.grad};
    F factor{T(a.factor)};
    typename E::Output d_x{a.d_x}, d_loc{a.d_loc}, d_scale{a.d_scale};

    GK_DEVICE explicit Backward(const LocScaleNllBackward& a) : a(a) {}

    GK_DEVICE void operator()(const Span& s, typename E::Values* d_scale_sum) {
      gradients(s, [&](int64_t i, F value) { d_scale_sum->set(i, value); });
    }
    GK_DEVICE void operator()(const Span& s) {
      d_scale.prepare(s);
      gradients(s, [&](int64_t i, F value) { d_scale.set(i, value); });
      d_scale.commit(s);
    }

   private:
    template <class Set>
    GK_DEVICE void gradients(const Span& s, const Set& set) {
      in.fetch(s);
      grad.fetch(s);
      d_x.prepare(s);
      d_loc.prepare(s);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const Scale<F> sigma = in.sigma(i);
        const F inverse = in.map.inverse_sigma(sigma);
        const NllGradient<F> d = density.gradient(F(in.x[i]), F(in.loc[i]), inverse, grad[i] * factor);
        const F by_x = times(d.standard, inverse);
        d_x.set(i, by_x);
        d_loc.set(i, -by_x);
        set(i, in.map.by_raw(sigma, d.logvar));
      }
      d_x.commit(s);
      d_loc.commit(s);
    }
  };
};

template <class E>
struct GaussianEntropyForwardTile {
  using F = typename E::F;
  const GaussianEntropyForward& a;
  ScaleMap<F, E::kPlain> map{a.scale_options};
  typename E::Input scale{a.scale};

  GK_DEVICE explicit GaussianEntropyForwardTile(const GaussianEntropyForward& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* entropy) {
    scale.fetch(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) entropy->set(i, gaussian_entropy(map(scale[i]).logvar));
  }
};

template <class E>
struct GaussianEntropyBackwardTile {
  using F = typename E::F;
  const GaussianEntropyBackward& a;
  ScaleMap<F, E::kPlain> map{a.scale_options};
  typename E::Input scale{a.scale};
  typename E::LossInput grad{a.grad};
  F factor{typename E::T(0.5 * a.factor)};
  typename E::Output d_scale{a.d_scale};

  GK_DEVICE explicit GaussianEntropyBackwardTile(const GaussianEntropyBackward& a) : a(a) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    scale.fetch(s);
    grad.fetch(s);
    d_scale.prepare(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const Scale<F> sigma = map(scale[i]);
      d_scale.set(i, map.by_raw(sigma, grad[i] * factor));
    }
    d_scale.commit(s);
  }
};

}  // namespace genkern
