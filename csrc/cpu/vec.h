// A vector of floats or doubles as wide as the instruction set allows, with arithmetic as on scalars.
// Included under the target pragma of one instruction set, inside its namespace GENKERN_ISA.
#pragma once

#include "cpu/system.h"
#include "math/scalar.h"

namespace genkern::GENKERN_ISA {

// The compiler's vector types (a vector_size attribute on a dependent type would be dropped).
template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float Native __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
  typedef int32_t Int __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
};
template <>
struct Vector<double> {
  typedef double Native __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
  typedef int64_t Int __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
};

template <class T>
struct Vec {
  static constexpr int lanes = GENKERN_VECTOR_BYTES / sizeof(T);
  using Native = typename Vector<T>::Native;
  using Int = typename Vector<T>::Int;
  using Mask = Int;

  Native v;

  Vec() = default;
  GK_INLINE Vec(T s) : v(s - Native{}) {}  // s - 0 is s, -0 included
  GK_INLINE Vec(Native n) : v(n) {}

  static GK_INLINE Vec load(const T* p) {
    Vec r;
    __builtin_memcpy(&r.v, p, sizeof(Native));
    return r;
  }
  GK_INLINE void store(T* p) const { __builtin_memcpy(p, &v, sizeof(Native)); }
};

using F32 = Vec<float>;
using F64 = Vec<double>;

#define GENKERN_OPERATOR(op)                         \
  template <class T>                                 \
  GK_INLINE Vec<T> operator op(Vec<T> a, Vec<T> b) { \
    return a.v op b.v;                               \
  }
GENKERN_OPERATOR(+)
GENKERN_OPERATOR(-)
GENKERN_OPERATOR(*)
GENKERN_OPERATOR(/)
#undef GENKERN_OPERATOR

template <class T>
GK_INLINE Vec<T> operator-(Vec<T> a) {
  return -a.v;
}

#define GENKERN_COMPARISON(op)                                      \
  template <class T>                                                \
  GK_INLINE typename Vec<T>::Mask operator op(Vec<T> a, Vec<T> b) { \
    return a.v op b.v;                                              \
  }
GENKERN_COMPARISON(<)
GENKERN_COMPARISON(<=)
GENKERN_COMPARISON(>)
GENKERN_COMPARISON(>=)
GENKERN_COMPARISON(==)
#undef GENKERN_COMPARISON

GK_INLINE F32 select(F32::Mask m, F32 a, F32 b) { return m ? a.v : b.v; }
GK_INLINE F64 select(F64::Mask m, F64 a, F64 b) { return m ? a.v : b.v; }

template <class T>
GK_INLINE typename Vec<T>::Int bits(Vec<T> a) {
  return (typename Vec<T>::Int)a.v;
}
template <class T>
GK_INLINE Vec<T> from_bits(typename Vec<T>::Int b) {
  return (typename Vec<T>::Native)b;
}

// The first operand where it is greater (less), else the second: NaN in the second passes, as in torch.clamp.
template <class T>
GK_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  return select(a > b, a, b);
}
template <class T>
GK_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  return select(a < b, a, b);
}

GK_INLINE F32 abs(F32 a) { return from_bits<float>(bits(a) & 0x7FFFFFFF); }
GK_INLINE F64 abs(F64 a) { return from_bits<double>(bits(a) & 0x7FFFFFFFFFFFFFFF); }

template <class T>
GK_INLINE T sum(Vec<T> a) {
  T total = 0;
  for (int i = 0; i < Vec<T>::lanes; ++i) total += a.v[i];
  return total;
}

// a b + c, rounded once where the machine can. The compiler is told not to fuse on its own: which products it fuses
// would change from kernel to kernel, and with them the last bit of a sample.
GK_INLINE F32 fma(F32 a, F32 b, F32 c) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (F32::Native)_mm512_fmadd_ps((__m512)a.v, (__m512)b.v, (__m512)c.v);
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return (F32::Native)_mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v);
#else
  return a * b + c;
#endif
}
GK_INLINE F64 fma(F64 a, F64 b, F64 c) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (F64::Native)_mm512_fmadd_pd((__m512d)a.v, (__m512d)b.v, (__m512d)c.v);
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return (F64::Native)_mm256_fmadd_pd((__m256d)a.v, (__m256d)b.v, (__m256d)c.v);
#else
  return a * b + c;
#endif
}

// (The maskz forms spare GCC a false warning about the plain ones' undefined source.)
#if defined(__x86_64__)
GK_INLINE F32 sqrt(F32 a) {
#if GENKERN_VECTOR_BYTES == 64
  return (F32::Native)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)a.v);
#elif GENKERN_VECTOR_BYTES == 32
  return (F32::Native)_mm256_sqrt_ps((__m256)a.v);
#else
  return (F32::Native)_mm_sqrt_ps((__m128)a.v);
#endif
}
#else
GK_INLINE F32 sqrt(F32 a) {
  for (int i = 0; i < F32::lanes; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
  return a;
}
#endif

GK_INLINE F64 sqrt(F64 a) {
  for (int i = 0; i < F64::lanes; ++i) a.v[i] = __builtin_sqrt(a.v[i]);
  return a;
}

}  // namespace genkern::GENKERN_ISA

namespace genkern {

template <class T>
struct Scalar<GENKERN_ISA::Vec<T>> {
  using type = T;
};

template <>
struct Lanes<GENKERN_ISA::F32> {
  using F32 = GENKERN_ISA::F32;
  using Int = F32::Int;
  static GK_INLINE Int bits(F32 x) { return GENKERN_ISA::bits(x); }
  static GK_INLINE F32 from_bits(Int i) { return GENKERN_ISA::from_bits<float>(i); }
  static GK_INLINE F32 to_float(Int i) { return F32(__builtin_convertvector(i, F32::Native)); }
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  static constexpr bool kScales = true;
  static GK_INLINE F32 scale(F32 x, F32 n) {
    return (F32::Native)_mm512_maskz_scalef_ps(0xFFFF, (__m512)x.v, (__m512)n.v);
  }
#else
  static constexpr bool kScales = false;
#endif
};

}  // namespace genkern
