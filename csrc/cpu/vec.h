// A vector of floats or doubles as wide as the instruction set allows, with arithmetic as on scalars.
// Included under the target pragma of one instruction set, inside its namespace GENKERN_ISA.
#pragma once

#include "cpu/system.h"
#include "math/scalar.h"

namespace genkern::GENKERN_ISA {

// The compiler's vector types (a vector_size attribute on a dependent type would be dropped). A vector may alias
// numbers of its own type, as they are stored; nothing else, so that a loop's pointers stay in registers when one is
// stored.
template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float Native __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
  typedef float Anywhere __attribute__((vector_size(GENKERN_VECTOR_BYTES), aligned(1)));
  typedef int32_t Int __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
  typedef int32_t IntAnywhere __attribute__((vector_size(GENKERN_VECTOR_BYTES), aligned(1)));
};
template <>
struct Vector<double> {
  typedef double Native __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
  typedef double Anywhere __attribute__((vector_size(GENKERN_VECTOR_BYTES), aligned(1)));
  typedef int64_t Int __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
  typedef int64_t IntAnywhere __attribute__((vector_size(GENKERN_VECTOR_BYTES), aligned(1)));
};

template <class T>
struct Vec {
  static constexpr int lanes = GENKERN_VECTOR_BYTES / sizeof(T);
  using Native = typename Vector<T>::Native;
  using Anywhere = typename Vector<T>::Anywhere;
  using Int = typename Vector<T>::Int;
  using Mask = Int;

  Native v;

  Vec() = default;
  GK_INLINE Vec(T s) : v(s - Native{}) {}  // s - 0 is s, -0 included
  GK_INLINE Vec(Native n) : v(n) {}

  // Not by memcpy, of which GCC makes two copies of half a vector, and a load of a whole one waits for both.
  static GK_INLINE Vec load(const T* p) { return Native(*reinterpret_cast<const Anywhere*>(p)); }
  GK_INLINE void store(T* p) const { *reinterpret_cast<Anywhere*>(p) = v; }
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

// Whether a lane of the mask is set.
template <class Int>
GK_INLINE bool any(Int mask) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#elif defined(__x86_64__)
  return _mm_movemask_epi8((__m128i)mask) != 0;
#elif defined(__aarch64__)
  return vmaxvq_u32((uint32x4_t)mask) != 0;
#else
  bool found = false;
  for (unsigned i = 0; i < sizeof mask / sizeof mask[0]; ++i) found |= mask[i] != 0;
  return found;
#endif
}

// Bit k for lane k of the mask.
template <class Int>
GK_INLINE unsigned set_lanes(Int mask) {
  [[maybe_unused]] constexpr bool wide = sizeof mask[0] == 8;
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return wide ? _mm512_movepi64_mask((__m512i)mask) : _mm512_movepi32_mask((__m512i)mask);
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return static_cast<unsigned>(wide ? _mm256_movemask_pd((__m256d)mask) : _mm256_movemask_ps((__m256)mask));
#elif defined(__x86_64__)
  return static_cast<unsigned>(wide ? _mm_movemask_pd((__m128d)mask) : _mm_movemask_ps((__m128)mask));
#else
  unsigned found = 0;
  for (unsigned i = 0; i < sizeof mask / sizeof mask[0]; ++i) found |= static_cast<unsigned>(mask[i] & 1) << i;
  return found;
#endif
}

template <class T>
GK_INLINE typename Vec<T>::Int bits(Vec<T> a) {
  return (typename Vec<T>::Int)a.v;
}
template <class T>
GK_INLINE Vec<T> from_bits(typename Vec<T>::Int b) {
  return (typename Vec<T>::Native)b;
}

// The first operand where it is greater (less), else the second: NaN in the second passes, as in torch.clamp. One
// instruction, which the compiler does not make of a comparison and a choice.
#if defined(__x86_64__)
#if GENKERN_VECTOR_BYTES == 64
#define GENKERN_EXTREME(name, F, type, suffix, lanes)                                              \
  GK_INLINE F name(F a, F b) {                                                                     \
    return (F::Native)_mm512_maskz_##name##_##suffix(lanes, (__m512##type)a.v, (__m512##type)b.v); \
  }
#elif GENKERN_VECTOR_BYTES == 32
#define GENKERN_EXTREME(name, F, type, suffix, lanes) \
  GK_INLINE F name(F a, F b) { return (F::Native)_mm256_##name##_##suffix((__m256##type)a.v, (__m256##type)b.v); }
#else
#define GENKERN_EXTREME(name, F, type, suffix, lanes) \
  GK_INLINE F name(F a, F b) { return (F::Native)_mm_##name##_##suffix((__m128##type)a.v, (__m128##type)b.v); }
#endif
GENKERN_EXTREME(max, F32, , ps, 0xFFFF)
GENKERN_EXTREME(min, F32, , ps, 0xFFFF)
GENKERN_EXTREME(max, F64, d, pd, 0xFF)
GENKERN_EXTREME(min, F64, d, pd, 0xFF)
#undef GENKERN_EXTREME
#else
template <class T>
GK_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  return select(a > b, a, b);
}
template <class T>
GK_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  return select(a < b, a, b);
}
#endif

GK_INLINE F32 abs(F32 a) { return from_bits<float>(bits(a) & 0x7FFFFFFF); }
GK_INLINE F64 abs(F64 a) { return from_bits<double>(bits(a) & 0x7FFFFFFFFFFFFFFF); }

template <class T>
struct Halves {
  Vec<T> low, high;
};
// The lanes of two vectors in another order: lane i comes from at(i), those of b counted on after those of a.
#if defined(__clang__)
template <class T, class At, int... i>
GK_INLINE Vec<T> shuffle_lanes(Vec<T> a, Vec<T> b, At at, std::integer_sequence<int, i...>) {
  return Vec<T>(__builtin_shufflevector(a.v, b.v, at(i)...));
}
template <class T, class At>
GK_INLINE Vec<T> shuffle(Vec<T> a, Vec<T> b, At at) {
  return shuffle_lanes(a, b, at, std::make_integer_sequence<int, Vec<T>::lanes>());
}
#else
template <class T, class At>
GK_INLINE Vec<T> shuffle(Vec<T> a, Vec<T> b, At at) {
  typename Vec<T>::Int from;
  for (int i = 0; i < Vec<T>::lanes; ++i) from[i] = at(i);
  return Vec<T>(__builtin_shuffle(a.v, b.v, from));
}
#endif

// a0 b0 a1 b1 ... of units of numbers, part by part of a vector: of each part the first half, and the second.
template <int kUnit, int kPart, int kLanes>
constexpr int interleaved(int i) {
  const int part = i / kPart * kPart, unit = i % kPart / kUnit;
  return part + unit / 2 * kUnit + i % kUnit + unit % 2 * kLanes;
}
template <int kUnit, int kPart, class T>
GK_INLINE Halves<T> interleave_parts(Vec<T> a, Vec<T> b) {
  constexpr int lanes = Vec<T>::lanes;
  return {shuffle(a, b, [](int i) { return interleaved<kUnit, kPart, lanes>(i); }),
          shuffle(a, b, [](int i) { return interleaved<kUnit, kPart, lanes>(i) + kPart / 2; })};
}
// Of as many rows, `apart` apart, as a part has units, the units become columns: each interleaving turns an index by
// one bit. (Arrays of the compiler's own vectors: GCC copies those of a class by way of memory.)
template <class T, int kUnit, int kPart>
GK_INLINE void transpose_units(typename Vec<T>::Native* rows, int apart) {
  constexpr int n = kPart / kUnit;
  GK_UNROLL
  for (int step = 1; step < n; step *= 2) {
    typename Vec<T>::Native turned[n];
    GK_UNROLL
    for (int i = 0; i < n / 2; ++i) {
      const Halves<T> halves =
          interleave_parts<kUnit, kPart>(Vec<T>(rows[i * apart]), Vec<T>(rows[(i + n / 2) * apart]));
      turned[2 * i] = halves.low.v;
      turned[2 * i + 1] = halves.high.v;
    }
    GK_UNROLL
    for (int i = 0; i < n; ++i) rows[i * apart] = turned[i];
  }
}

// As many rows as a row has numbers become columns: numbers within 16 bytes, which a machine moves at once; then those.
template <class T>
GK_INLINE void transpose(typename Vec<T>::Native (&rows)[Vec<T>::lanes]) {
  constexpr int lanes = Vec<T>::lanes, quad = 16 / sizeof(T);
  GK_UNROLL
  for (int i = 0; i < lanes; i += quad) transpose_units<T, 1, quad>(rows + i, 1);
  GK_UNROLL
  for (int i = 0; i < quad; ++i) transpose_units<T, quad, lanes>(rows + i, quad);
}

// Halves are added: fewer steps wait for one another than from lane to lane.
template <class T>
GK_INLINE T sum(Vec<T> a) {
  T part[Vec<T>::lanes];
  a.store(part);
  GK_UNROLL
  for (int n = Vec<T>::lanes / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) part[i] += part[i + n];
  return part[0];
}

// v in the first n lanes, 0 in others.
template <class T>
GK_INLINE Vec<T> first_lanes(int64_t n, Vec<T> v) {
  Vec<T> lane;
  for (int k = 0; k < Vec<T>::lanes; ++k) lane.v[k] = static_cast<T>(k);
  return select(lane < Vec<T>(static_cast<T>(n)), v, Vec<T>(T(0)));
}

// table[i % 8] in each lane.
template <class T, class Int>
GK_INLINE Vec<T> look_up(const T (&table)[8], Int i) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4)
    return (F32::Native)_mm512_maskz_permutexvar_ps(0xFFFF, (__m512i)i,
                                                    _mm512_maskz_broadcast_f32x8(0xFFFF, _mm256_loadu_ps(table)));
  else
    return (F64::Native)_mm512_maskz_permutexvar_pd(0xFF, (__m512i)i, _mm512_loadu_pd(table));
#else
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == 4) return (F32::Native)_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)i);
#endif
  Vec<T> found;
  for (int k = 0; k < Vec<T>::lanes; ++k) found.v[k] = table[i[k] & 7];
  return found;
#endif
}

// a b + c, rounded once where the machine can. The compiler is told not to fuse on its own: which products it fuses
// would change from kernel to kernel, and with them the last bit of a sample.
GK_INLINE F32 fma(F32 a, F32 b, F32 c) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (F32::Native)_mm512_fmadd_ps((__m512)a.v, (__m512)b.v, (__m512)c.v);
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return (F32::Native)_mm256_fmadd_ps((__m256)a.v, (__m256)b.v, (__m256)c.v);
#elif defined(__aarch64__)
  return (F32::Native)vfmaq_f32((float32x4_t)c.v, (float32x4_t)a.v, (float32x4_t)b.v);
#else
  return a * b + c;
#endif
}
GK_INLINE F64 fma(F64 a, F64 b, F64 c) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (F64::Native)_mm512_fmadd_pd((__m512d)a.v, (__m512d)b.v, (__m512d)c.v);
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return (F64::Native)_mm256_fmadd_pd((__m256d)a.v, (__m256d)b.v, (__m256d)c.v);
#elif defined(__aarch64__)
  return (F64::Native)vfmaq_f64((float64x2_t)c.v, (float64x2_t)a.v, (float64x2_t)b.v);
#else
  return a * b + c;
#endif
}

// (The maskz forms spare GCC a false warning about the plain ones' undefined source.)
#if defined(__x86_64__)
#if GENKERN_VECTOR_BYTES == 64
GK_INLINE F32 sqrt(F32 a) { return (F32::Native)_mm512_maskz_sqrt_ps(0xFFFF, (__m512)a.v); }
GK_INLINE F64 sqrt(F64 a) { return (F64::Native)_mm512_maskz_sqrt_pd(0xFF, (__m512d)a.v); }
#elif GENKERN_VECTOR_BYTES == 32
GK_INLINE F32 sqrt(F32 a) { return (F32::Native)_mm256_sqrt_ps((__m256)a.v); }
GK_INLINE F64 sqrt(F64 a) { return (F64::Native)_mm256_sqrt_pd((__m256d)a.v); }
#else
GK_INLINE F32 sqrt(F32 a) { return (F32::Native)_mm_sqrt_ps((__m128)a.v); }
GK_INLINE F64 sqrt(F64 a) { return (F64::Native)_mm_sqrt_pd((__m128d)a.v); }
#endif
#elif defined(__aarch64__)
GK_INLINE F32 sqrt(F32 a) { return (F32::Native)vsqrtq_f32((float32x4_t)a.v); }
GK_INLINE F64 sqrt(F64 a) { return (F64::Native)vsqrtq_f64((float64x2_t)a.v); }
#else
GK_INLINE F32 sqrt(F32 a) {
  for (int i = 0; i < F32::lanes; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
  return a;
}
GK_INLINE F64 sqrt(F64 a) {
  for (int i = 0; i < F64::lanes; ++i) a.v[i] = __builtin_sqrt(a.v[i]);
  return a;
}
#endif

}  // namespace genkern::GENKERN_ISA

namespace genkern {

template <class T>
struct Scalar<GENKERN_ISA::Vec<T>> {
  using type = T;
};

template <class T>
struct Masks<GENKERN_ISA::Vec<T>> {
  static GK_INLINE bool any(typename GENKERN_ISA::Vec<T>::Mask m) { return GENKERN_ISA::any(m); }
};

template <>
struct Lanes<GENKERN_ISA::F32> {
  using F32 = GENKERN_ISA::F32;
  using Int = F32::Int;
  static constexpr int32_t kSign = INT32_MIN;
  // a where i is negative, else b. AVX2 has an instruction, before which GCC would put a comparison with 0.
  static GK_INLINE F32 where_negative(Int i, F32 a, F32 b) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
    F32::Native chosen;
    asm("vblendvps %3, %2, %1, %0" : "=x"(chosen) : "x"(b.v), "x"(a.v), "x"(i));
    return chosen;
#else
    return select(i < 0, a, b);
#endif
  }
  static GK_INLINE Int bits(F32 x) { return GENKERN_ISA::bits(x); }
  static GK_INLINE F32 from_bits(Int i) { return GENKERN_ISA::from_bits<float>(i); }
  static GK_INLINE F32 look_up(const float (&table)[8], Int i) { return GENKERN_ISA::look_up(table, i); }
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
template <>
struct Lanes<GENKERN_ISA::F64> {
  using F64 = GENKERN_ISA::F64;
  typedef uint64_t Int __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
  static constexpr uint64_t kSign = uint64_t{1} << 63;
  static GK_INLINE F64 where_negative(Int i, F64 a, F64 b) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
    F64::Native chosen;
    asm("vblendvpd %3, %2, %1, %0" : "=x"(chosen) : "x"(b.v), "x"(a.v), "x"(i));
    return chosen;
#else
    return select((F64::Int)i < 0, a, b);
#endif
  }
  static GK_INLINE Int bits(F64 x) { return (Int)x.v; }
  static GK_INLINE F64 from_bits(Int i) { return (F64::Native)i; }
  static GK_INLINE F64 look_up(const double (&table)[8], Int i) { return GENKERN_ISA::look_up(table, i); }
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  static constexpr bool kScales = true;
  static GK_INLINE F64 scale(F64 x, F64 n) {
    return (F64::Native)_mm512_maskz_scalef_pd(0xFF, (__m512d)x.v, (__m512d)n.v);
  }
#else
  static constexpr bool kScales = false;
#endif
};

}  // namespace genkern
