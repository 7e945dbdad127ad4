// A diagonal Gaussian at a point, one dimension of it, as the pairwise loops take it apart: what depends on the
// component alone is made once for all points.
#pragma once

#include "math/gaussian.h"

namespace genkern {

// log N(z; loc, sigma^2) = bias - u^2 with u = (z - loc) * rate, rate = 1 / (sigma sqrt 2).
template <class F>
struct Component {
  F loc, rate, bias;
};

template <class F>
GK_INLINE Component<F> component(F loc, F log_scale) {
  using T = scalar_t<F>;
  constexpr double kRootHalf = 0.70710678118654752440084436210485;
  // A number for every sigma: a point at the location has no distance from it.
  const F rate = min(F(kLargest<F>), exp(-log_scale)) * F(T(kRootHalf));
  return {loc, rate, -(log_scale + F(T(0.5 * kLog2Pi)))};
}

template <class F>
GK_INLINE F standardised(const Component<F>& c, F z) {
  return (z - c.loc) * c.rate;
}
template <class F>
GK_INLINE F log_density(const Component<F>& c, F z) {
  const F u = standardised(c, z);
  return fma(-u, u, c.bias);
}

// Backward has the shares exp(term - value) / total of the components, value the log of the sum of exponentials and
// total what rounding makes of the shares' sum. A point without any density gives no component a share.
template <class T>
GK_INLINE T total_of_shares(T sum, T sum_of_shares) {
  return sum == T(0) ? -T(kMinusInfinity) : sum_of_shares;
}
template <class T>
GK_INLINE T value_for_shares(T value) {
  return value < -kLargest<T> ? -kLargest<T> : value;
}

// The derivatives of a log density by loc (by z it is the negative) and by log sigma, times a weight. Where that is 0
// they are, however far the point is.
template <class F>
struct ComponentGradient {
  F loc, log_scale;
};

template <class F>
GK_INLINE ComponentGradient<F> gradient(const Component<F>& c, F z, F weight) {
  const F u = select(weight == F(scalar_t<F>(0)), F(scalar_t<F>(0)), standardised(c, z));
  const F weighted = (weight + weight) * u;
  return {weighted * c.rate, fma(weighted, u, -weight)};
}

}  // namespace genkern
