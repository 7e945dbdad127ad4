// The functions that the formulas call, for a plain float or double, on host and device.
#pragma once

#include <math.h>

#include "math/config.h"

namespace genkern {

template <class F>
struct Pair {
  F first, second;
};

GK_INLINE float exp(float x) { return ::expf(x); }
GK_INLINE double exp(double x) { return ::exp(x); }
GK_INLINE float log(float x) { return ::logf(x); }
GK_INLINE double log(double x) { return ::log(x); }
GK_INLINE float log1p(float x) { return ::log1pf(x); }
GK_INLINE double log1p(double x) { return ::log1p(x); }
GK_INLINE float sqrt(float x) { return ::sqrtf(x); }
GK_INLINE double sqrt(double x) { return ::sqrt(x); }
GK_INLINE float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
GK_INLINE double fma(double a, double b, double c) { return ::fma(a, b, c); }
GK_INLINE float abs(float x) { return ::fabsf(x); }
GK_INLINE double abs(double x) { return ::fabs(x); }

// The first where it is greater (less), else the second: NaN in the second passes, as in torch.clamp.
GK_INLINE float max(float a, float b) { return a > b ? a : b; }
GK_INLINE double max(double a, double b) { return a > b ? a : b; }
GK_INLINE float min(float a, float b) { return a < b ? a : b; }
GK_INLINE double min(double a, double b) { return a < b ? a : b; }
GK_INLINE float select(bool c, float a, float b) { return c ? a : b; }
GK_INLINE double select(bool c, double a, double b) { return c ? a : b; }

// cos and sin of 2 pi u for u in [0, 1]; nothing of the angle is rounded away before the quadrant is known.
#ifdef __CUDA_ARCH__
__device__ __forceinline__ Pair<float> cos_sin_2pi(float u) {
  Pair<float> p;
  ::sincospif(2.0f * u, &p.second, &p.first);
  return p;
}
__device__ __forceinline__ Pair<double> cos_sin_2pi(double u) {
  Pair<double> p;
  ::sincospi(2.0 * u, &p.second, &p.first);
  return p;
}
#else
template <class T>
GK_INLINE Pair<T> cos_sin_2pi(T u) {
  const T quarter = ::rint(T(4) * u), angle = (T(4) * u - quarter) * T(1.5707963267948966);
  const int q = static_cast<int>(quarter) & 3;
  const T c = ::cos(angle), s = ::sin(angle);
  const T cosine = q & 1 ? s : c, sine = q & 1 ? c : s;
  return {q == 1 || q == 2 ? -cosine : cosine, q >= 2 ? -sine : sine};
}
#endif

}  // namespace genkern
