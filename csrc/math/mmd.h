// Kernels of the maximum mean discrepancy as functions of the squared distance d of two points, summed over scales.
#pragma once

#include "kernels.h"
#include "math/elementary.h"
#include "math/scalar.h"

namespace genkern {

// Radial basis functions exp(-d / s), or inverse multiquadrics s / (s + d).
template <class T, bool kInverse>
struct MmdKernel {
  int scales;
  T scale[kMostScales], rate[kMostScales];  // s, and 1 / s

  GK_INLINE explicit MmdKernel(const Mmd& a) : scales(a.scales) {
    for (int i = 0; i < kMostScales; ++i) {
      scale[i] = i < scales ? static_cast<T>(a.scale[i]) : T(1);
      rate[i] = i < scales ? static_cast<T>(1.0 / a.scale[i]) : T(1);
    }
  }

  template <class F>
  GK_INLINE F value(F d) const {
    F sum(T(0));
    GK_NO_UNROLL
    for (int i = 0; i < scales; ++i)
      sum = sum + (kInverse ? F(scale[i]) / (F(scale[i]) + d) : tail_exp(-(d * F(rate[i]))));
    return sum;
  }

  // Minus the derivative by d.
  template <class F>
  GK_INLINE F descent(F d) const {
    F sum(T(0));
    GK_NO_UNROLL
    for (int i = 0; i < scales; ++i) {
      if (kInverse) {
        const F r = F(T(1)) / (F(scale[i]) + d);
        sum = fma(F(scale[i]) * r, r, sum);
      } else {
        sum = fma(tail_exp(-(d * F(rate[i]))), F(rate[i]), sum);
      }
    }
    return sum;
  }
};

// The statistic is the sum of these times the kernel over the pairs of a set, each once, over those of both sets, and
// one for the pairs of a point and itself.
struct MmdWeights {
  double x, y, both, own;

  GK_INLINE explicit MmdWeights(const Mmd& a) {
    const auto b = static_cast<double>(a.x_rows), c = static_cast<double>(a.y_rows);
    x = 2.0 / (b * (a.unbiased ? b - 1.0 : b));
    y = 2.0 / (c * (a.unbiased ? c - 1.0 : c));
    both = -2.0 / (b * c);
    own = a.unbiased ? 0.0 : a.scales * (1.0 / b + 1.0 / c);
  }
};

}  // namespace genkern
