// The functions that the formulas call, for a plain float or double, on host and device; those by polynomials are in
// math/elementary.h.
#pragma once

#include <math.h>

#include "math/config.h"

namespace genkern {

template <class F>
struct Pair {
  F first, second;
};
template <class F, int N>
struct Numbers {
  F of[N];
};

// A formula in steps hands them over, take(step, ...). Each makes of what the step before has made, Before for the
// first, and of the arguments what the next one needs, the last the result.
struct Before {};

// All steps of one element, or vector of them.
template <class F, class Arguments, class Made, class Step, class... Others>
GK_INLINE auto all_steps(const Arguments& arguments, const Made& made, const Step& step, const Others&... others) {
  const auto next = arguments([&](auto... x) { return step(made, F(x)...); });
  if constexpr (sizeof...(others) == 0)
    return next;
  else
    return all_steps<F>(arguments, next, others...);
}

GK_INLINE float sqrt(float x) { return ::sqrtf(x); }
GK_INLINE double sqrt(double x) { return ::sqrt(x); }
GK_INLINE float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
GK_INLINE double fma(double a, double b, double c) { return ::fma(a, b, c); }
GK_INLINE float abs(float x) { return ::fabsf(x); }
GK_INLINE double abs(double x) { return ::fabs(x); }

// The first where it is greater (less), else the second: NaN in the second passes, as in torch.clamp.
GK_INLINE float max(float a, float b) {
#ifdef __CUDA_ARCH__
  float c;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));  // the first is never NaN
  return c;
#else
  return a > b ? a : b;
#endif
}
GK_INLINE float min(float a, float b) {
#ifdef __CUDA_ARCH__
  float c;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
  return c;
#else
  return a < b ? a : b;
#endif
}
GK_INLINE double max(double a, double b) { return a > b ? a : b; }
GK_INLINE double min(double a, double b) { return a < b ? a : b; }
GK_INLINE float select(bool c, float a, float b) { return c ? a : b; }
GK_INLINE double select(bool c, double a, double b) { return c ? a : b; }

// What comparisons of numbers give, one or a vector of them (cpu/vec.h).
template <class F>
struct Masks {
  static GK_INLINE bool any(bool c) { return c; }
};

// The bits of floats, likewise, as integers; those of doubles as integers without a sign, which AVX2 can shift.
template <class F>
struct Lanes;
template <>
struct Lanes<float> {
  using Int = int32_t;
  static constexpr int32_t kSign = INT32_MIN;
  static constexpr bool kScales = false;  // whether there is an instruction for x 2^n
  static GK_INLINE Int bits(float x) {
#ifdef __CUDA_ARCH__
    return __float_as_int(x);
#else
    Int i;
    __builtin_memcpy(&i, &x, 4);
    return i;
#endif
  }
  static GK_INLINE float from_bits(Int i) {
#ifdef __CUDA_ARCH__
    return __int_as_float(i);
#else
    float x;
    __builtin_memcpy(&x, &i, 4);
    return x;
#endif
  }
  static GK_INLINE float to_float(Int i) { return static_cast<float>(i); }
  static GK_INLINE float where_negative(Int i, float a, float b) { return i < 0 ? a : b; }
};
template <>
struct Lanes<double> {
  using Int = uint64_t;
  static constexpr uint64_t kSign = uint64_t{1} << 63;
  static GK_INLINE double where_negative(Int i, double a, double b) { return static_cast<int64_t>(i) < 0 ? a : b; }
  static constexpr bool kScales = false;
  static GK_INLINE Int bits(double x) {
#ifdef __CUDA_ARCH__
    return static_cast<Int>(__double_as_longlong(x));
#else
    Int i;
    __builtin_memcpy(&i, &x, 8);
    return i;
#endif
  }
  static GK_INLINE double from_bits(Int i) {
#ifdef __CUDA_ARCH__
    return __longlong_as_double(static_cast<long long>(i));
#else
    double x;
    __builtin_memcpy(&x, &i, 8);
    return x;
#endif
  }
};

}  // namespace genkern
