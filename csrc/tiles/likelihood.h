// Likelihoods of data: what happens to one tile, for every backend (as tiles/gaussian.h).
#pragma once

#include "kernels.h"
#include "math/likelihood.h"
#include "tiles/gaussian.h"

namespace genkern {

GK_INLINE std::true_type is_plain(const ParameterNll&) { return {}; }

// Distribution<F>, of math/likelihood.h, is that of one element.
template <template <class> class Distribution>
struct ParameterNllTiles {
  template <class E>
  struct Inputs {
    static constexpr bool kFlushes = Distribution<typename E::F>::kFlushes;
    using F = typename E::F;
    typename E::Input x, parameter;
    Distribution<F> distribution;

    GK_DEVICE explicit Inputs(const ParameterNll& a) : x(a.x), parameter(a.parameter), distribution(a.options) {}

    GK_DEVICE void fetch(const typename E::Span& s) {
      x.fetch(s);
      parameter.fetch(s);
    }
  };

  template <class E>
  struct Forward : Inputs<E> {
    GK_DEVICE explicit Forward(const ParameterNllForward& a) : Inputs<E>(a) {}

    GK_DEVICE void operator()(const typename E::Span& s, typename E::Values* nll) {
      using F = typename E::F;
      this->fetch(s);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes)
          nll->set(i, this->distribution.nll(F(this->x[i]), F(this->parameter[i])));
    }
  };

  template <class E>
  struct Backward : Inputs<E> {
    using F = typename E::F;
    typename E::LossInput grad;
    F factor;
    typename E::Output d_x, d_parameter;

    GK_DEVICE explicit Backward(const ParameterNllBackward& a)
        : Inputs<E>(a), grad(a.grad), factor(typename E::T(a.factor)), d_x(a.d_x), d_parameter(a.d_parameter) {}

    GK_DEVICE void operator()(const typename E::Span& s) {
      this->fetch(s);
      grad.fetch(s);
      d_x.prepare(s);
      d_parameter.prepare(s);
      GK_TILE for (int64_t i = 0; i < s.n; i += E::lanes) {
        const F g = grad[i] * factor;
        const ParameterGradient<F> d = this->distribution.gradient(F(this->x[i]), F(this->parameter[i]));
        d_x.set(i, g * d.x);
        d_parameter.set(i, g * d.parameter);
      }
      d_x.commit(s);
      d_parameter.commit(s);
    }
  };
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
