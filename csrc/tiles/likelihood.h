// Likelihoods of data: what happens to one tile, for every backend (as tiles/gaussian.h).
#pragma once

#include "kernels.h"
#include "math/likelihood.h"
#include "tiles/gaussian.h"
#include "tiles/terms.h"

namespace genkern {

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

// The mass of a bin in place of a density.
template <class F>
struct DiscretizedGaussian {
  using T = scalar_t<F>;
  const LocScaleNll& a;
  Cdf cdf{a.cdf};
  F half{T(a.bins.half)}, below{T(a.bins.below)}, above{T(a.bins.above)}, log_half{T(a.bins.log_half)};

  GK_DEVICE explicit DiscretizedGaussian(const LocScaleNll& a) : a(a) {}
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

}  // namespace genkern
