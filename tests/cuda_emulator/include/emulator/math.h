// Device functions that the C library lacks. The fast ones (__expf, ...) are the exact ones: an emulated result says
// nothing about their error.
#pragma once

#include <math.h>

#include <bit>
#include <cmath>
#include <cstdint>

// The C library declares these names for itself, so they can only be renamed.
#define __expf expf
#define __exp10f exp10f
#define __logf logf
#define __log2f log2f
#define __log10f log10f
#define __powf powf
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __sincosf sincosf

namespace emulator {

template <class T>
struct SinCos {
  T sin, cos;
};

// Of pi x; nothing of the angle is rounded away before the quadrant is known.
inline SinCos<double> sin_cos_pi(double x) {
  const double turn = std::fmod(x, 2.0), quarter = std::rint(2.0 * turn);
  const double angle = (turn - 0.5 * quarter) * 3.14159265358979323846;
  const double s = std::sin(angle), c = std::cos(angle);
  if (std::isnan(quarter)) return {s, c};
  switch (static_cast<int>(quarter) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

}  // namespace emulator

inline void sincospi(double x, double* sin, double* cos) {
  const auto r = emulator::sin_cos_pi(x);
  *sin = r.sin, *cos = r.cos;
}
inline void sincospif(float x, float* sin, float* cos) {
  const auto r = emulator::sin_cos_pi(x);
  *sin = static_cast<float>(r.sin), *cos = static_cast<float>(r.cos);
}
#if !__GLIBC_PREREQ(2, 41)  // C23
inline double sinpi(double x) { return emulator::sin_cos_pi(x).sin; }
inline double cospi(double x) { return emulator::sin_cos_pi(x).cos; }
inline float sinpif(float x) { return static_cast<float>(emulator::sin_cos_pi(x).sin); }
inline float cospif(float x) { return static_cast<float>(emulator::sin_cos_pi(x).cos); }
#endif
#if !__GLIBC_PREREQ(2, 42)  // C23
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float rsqrtf(float x) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))); }
#endif

// The GPU's instruction, ex2.approx, may be off by 2 ulp, but where the PTX manual has a value of its own: 1 at 0, 0 at
// -inf. This one is, so that tests have the margin. exp2f is declared by the host's library, hence the other name.
inline float approximate_exp2f(float x) {
  const float e = ::exp2f(x);
  const bool special = x == 0.0f || e == 0.0f || !std::isfinite(e);
  return special ? e : std::nextafter(std::nextafter(e, HUGE_VALF), HUGE_VALF);
}
#define exp2f approximate_exp2f

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __frsqrt_rn(float a) { return rsqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __drcp_rn(double a) { return 1.0 / a; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>(int64_t{a} * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }

// In the global namespace, as nvcc has them.
#define EMULATOR_MIN_MAX(T)                        \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
EMULATOR_MIN_MAX(int)
EMULATOR_MIN_MAX(unsigned)
EMULATOR_MIN_MAX(long)
EMULATOR_MIN_MAX(unsigned long)
EMULATOR_MIN_MAX(long long)
EMULATOR_MIN_MAX(unsigned long long)
#undef EMULATOR_MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }

// Cache hints change no value.
#define EMULATOR_LOAD(name)  \
  template <class T>         \
  T name(const T* address) { \
    return *address;         \
  }
#define EMULATOR_STORE(name)                                    \
  template <class T>                                            \
  void name(T* address, const std::type_identity_t<T>& value) { \
    *address = value;                                           \
  }
EMULATOR_LOAD(__ldg)
EMULATOR_LOAD(__ldca)
EMULATOR_LOAD(__ldcg)
EMULATOR_LOAD(__ldcs)
EMULATOR_LOAD(__ldlu)
EMULATOR_LOAD(__ldcv)
EMULATOR_STORE(__stwb)
EMULATOR_STORE(__stcg)
EMULATOR_STORE(__stcs)
EMULATOR_STORE(__stwt)
#undef EMULATOR_LOAD
#undef EMULATOR_STORE
