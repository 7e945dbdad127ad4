// Likelihoods of data: what happens to one tile, for every backend (as tiles/gaussian.h).
#pragma once

#include "kernels.h"
#include "math/likelihood.h"
#include "tiles/gaussian.h"

namespace genkern {

GK_INLINE std::true_type is_plain(const BernoulliNll&) { return {}; }

template <class E>
struct BernoulliInputs {
  using T = typename E::T;
  using F = typename E::F;
  typename E::Input x, logits;
  F keep, half_smoothing;

  GK_DEVICE explicit BernoulliInputs(const BernoulliNll& a)
      : x(a.x), logits(a.logits), keep(T(1.0 - a.label_smoothing)), half_smoothing(T(0.5 * a.label_smoothing)) {}

  GK_DEVICE void fetch(const typename E::Span& s) {
    x.fetch(s);
    logits.fetch(s);
  }
  GK_DEVICE Bernoulli<F> operator[](int64_t i) const { return bernoulli(F(x[i]), F(logits[i]), keep, half_smoothing); }
};

template <class E>
struct BernoulliNllForwardTile {
  static constexpr bool kFlushes = true;
  BernoulliInputs<E> in;

  GK_DEVICE explicit BernoulliNllForwardTile(const BernoulliNllForward& a) : in(a) {}

  GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* nll) {
    in.fetch(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) nll->set(i, bernoulli_nll(in[i]));
  }
};

template <class E>
struct BernoulliNllBackwardTile {
  static constexpr bool kFlushes = true;
  using F = typename E::F;
  BernoulliInputs<E> in;
  typename E::LossInput grad;
  F factor;
  typename E::Output d_x, d_logits;

  GK_DEVICE explicit BernoulliNllBackwardTile(const BernoulliNllBackward& a)
      : in(a), grad(a.grad), factor(typename E::T(a.factor)), d_x(a.d_x), d_logits(a.d_logits) {}

  GK_DEVICE void operator()(const typename E::Span& s) {
    in.fetch(s);
    grad.fetch(s);
    d_x.prepare(s);
    d_logits.prepare(s);
    GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
      const F g = grad[i] * factor;
      const BernoulliGradient<F> d = gradient(in[i], in.keep);
      d_x.set(i, g * d.x);
      d_logits.set(i, g * d.logit);
    }
    d_x.commit(s);
    d_logits.commit(s);
  }
};

template <class F>
struct LaplaceDensity {
  F constant;

  GK_DEVICE explicit LaplaceDensity(const LocScaleNll& a) : constant(scalar_t<F>(a.full ? kLog2 : 0.0)) {}
  GK_DEVICE F nll(F x, F loc, F inverse, F logvar) const {
    return laplace_nll(times(x - loc, inverse), logvar) + constant;
  }
  GK_DEVICE NllGradient<F> gradient(F x, F loc, F inverse, F g) const {
    return laplace_nll_gradient(times(x - loc, inverse), g);
  }
};

template <class E>
struct LaplaceNllForwardTile : DensityForward<E, LaplaceDensity> {
  GK_DEVICE explicit LaplaceNllForwardTile(const LocScaleNllForward& a) : DensityForward<E, LaplaceDensity>(a) {}
};

template <class E>
struct LaplaceNllBackwardTile : DensityBackward<E, LaplaceDensity> {
  GK_DEVICE explicit LaplaceNllBackwardTile(const LocScaleNllBackward& a) : DensityBackward<E, LaplaceDensity>(a) {}
};

// The mass of a bin in place of a density.
template <class F>
struct DiscretizedGaussian {
  using T = scalar_t<F>;
  Cdf cdf;
  F half, below, above, log_half;

  GK_DEVICE explicit DiscretizedGaussian(const LocScaleNll& a)
      : cdf(a.cdf),
        half(T(a.bins.half)),
        below(T(a.bins.below)),
        above(T(a.bins.above)),
        log_half(T(a.bins.log_half)) {}
  GK_DEVICE F nll(F x, F loc, F inverse, F logvar) const {
    return genkern::nll(mass(x, loc, inverse, fma(F(-0.5f), logvar, log_half), F(1)));
  }
  GK_DEVICE NllGradient<F> gradient(F x, F loc, F inverse, F g) const {
    return mass(x, loc, inverse, F(0), g).gradient;
  }

 private:
  GK_DEVICE BinMass<F> mass(F x, F loc, F inverse, F log_w, F g) const {
    // The bin's ends are never so near the mean that a larger one would tell them apart from it.
    const Bin<F> bin = bin_of(x, loc, min(F(kLargest<F>), inverse), half, below, above);
    return cdf == Cdf::exact ? normal_mass(bin, log_w, g) : tanh_mass(bin, log_w, g);
  }
};

template <class E>
struct DiscretizedGaussianNllForwardTile : DensityForward<E, DiscretizedGaussian> {
  GK_DEVICE explicit DiscretizedGaussianNllForwardTile(const LocScaleNllForward& a)
      : DensityForward<E, DiscretizedGaussian>(a) {}
};

template <class E>
struct DiscretizedGaussianNllBackwardTile : DensityBackward<E, DiscretizedGaussian> {
  GK_DEVICE explicit DiscretizedGaussianNllBackwardTile(const LocScaleNllBackward& a)
      : DensityBackward<E, DiscretizedGaussian>(a) {}
};

}  // namespace genkern
