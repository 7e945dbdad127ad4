// The losses of a GAN, a logit at a time, and what its regularisers are made of (sources: docs/numerics.md).
#pragma once

#include "math/numeric.h"
#include "math/options.h"

namespace genkern {

// A term with its numbers in the type of arithmetic.
template <class F>
struct GanLogit {
  GanShape shape;
  bool smoothed;
  F sign, shift, smoothing, weight;

  GK_INLINE explicit GanLogit(const GanTerm& t)
      : shape(t.shape),
        smoothed(t.smoothing != 0.0),
        sign(scalar_t<F>(t.sign)),
        shift(scalar_t<F>(t.shift)),
        smoothing(scalar_t<F>(t.smoothing)),
        weight(scalar_t<F>(t.weight)) {}

  GK_INLINE F value(F x) const {
    const F u = fma(sign, x, shift);
    return weight * (smoothed ? (F(1) - smoothing) * of(u) + smoothing * of(-u) : of(u));
  }
  // Its derivative by x.
  GK_INLINE F slope(F x) const {
    const F u = fma(sign, x, shift);
    return weight * sign * (smoothed ? (F(1) - smoothing) * slope_of(u) - smoothing * slope_of(-u) : slope_of(u));
  }

 private:
  GK_INLINE F of(F u) const {
    switch (shape) {
      case GanShape::softplus:
        return softplus(u, tail_exp(-abs(u)));
      case GanShape::hinge:
        return max(F(0), u);
      case GanShape::square:
        return F(0.5f) * u * u;
      default:
        return u;
    }
  }
  GK_INLINE F slope_of(F u) const {
    switch (shape) {
      case GanShape::softplus:
        return sigmoid(u, tail_exp(-abs(u)));
      case GanShape::hinge:
        return select(u <= F(0), F(0), F(1));  // nan, as in torch, is not below
      case GanShape::square:
        return u;
      default:
        return F(1);
    }
  }
};

// On the way from fake (eps = 0) to real; 1 - eps is exact, since eps is a multiple of 2^-24, or of 2^-53.
template <class F>
GK_INLINE F interpolation(F real, F fake, F eps) {
  return fma(eps, real, (F(1) - eps) * fake);
}

}  // namespace genkern
