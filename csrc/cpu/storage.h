// Between storage types and the type of arithmetic, a vector at a time.
#pragma once

#include "cpu/vec.h"

namespace genkern::GENKERN_ISA {

// bfloat16 and float16 in memory.
struct Bfloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

typedef uint32_t U32 __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
typedef uint16_t U16 __attribute__((vector_size(GENKERN_VECTOR_BYTES / 2)));  // of as many lanes
typedef uint16_t U16Anywhere __attribute__((vector_size(GENKERN_VECTOR_BYTES / 2), aligned(1), may_alias));

GK_INLINE U32 load_words(const uint16_t* p) {
  return __builtin_convertvector((U16) * reinterpret_cast<const U16Anywhere*>(p), U32);
}
// Words below 2^16.
GK_INLINE void store_words(U32 words, uint16_t* p) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  const __m256i all = (__m256i)words;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
#else
  *reinterpret_cast<U16Anywhere*>(p) = __builtin_convertvector(words, U16);
#endif
}

// load(p, v) and store(v, p): a vector of numbers, and where they lie side by side.
GK_INLINE void load(const float* p, F32& v) { v = F32::load(p); }
GK_INLINE void load(const double* p, F64& v) { v = F64::load(p); }
GK_INLINE void store(F32 v, float* p) { v.store(p); }
GK_INLINE void store(F64 v, double* p) { v.store(p); }

GK_INLINE void load(const Bfloat16* p, F32& v) { v = (F32::Native)(load_words(&p->bits) << 16); }
// To nearest, ties to even; NaN stays NaN.
GK_INLINE void store(F32 v, Bfloat16* p) {
  const U32 u = (U32)v.v, rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  store_words(v.v != v.v ? U32{} + 0x7FC0u : rounded, &p->bits);
}

#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
GK_INLINE void load(const Float16* p, F32& v) {
  v = (F32::Native)_mm512_maskz_cvtph_ps(0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
GK_INLINE void store(F32 v, Float16* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_maskz_cvtps_ph(0xFFFF, (__m512)v.v, 0));
}
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
GK_INLINE void load(const Float16* p, F32& v) {
  v = (F32::Native)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
GK_INLINE void store(F32 v, Float16* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)v.v, 0));
}
#elif defined(__aarch64__)
GK_INLINE void load(const Float16* p, F32& v) {
  v = (F32::Native)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
}
GK_INLINE void store(F32 v, Float16* p) { vst1_u16(&p->bits, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)v.v))); }
#else
// The exponent is moved by a multiplication, which normalises denormals on the way.
GK_INLINE void load(const Float16* p, F32& v) {
  const U32 h = load_words(&p->bits);
  const F32 f = F32((F32::Native)((h & 0x7FFFu) << 13)) * F32(0x1p112f);
  const U32 infinite = (U32)(f >= F32(65536.0f)) & 0x7F800000u;
  v = (F32::Native)((U32)f.v | infinite | (h & 0x8000u) << 16);
}
// To nearest, ties to even. Adding a power of two as large as the last kept bit rounds a denormal result; a normal one
// is rounded as an integer. NaN stays NaN, overflow is infinity.
GK_INLINE void store(F32 v, Float16* p) {
  const U32 sign = ((U32)v.v >> 16) & 0x8000u, u = (U32)v.v & 0x7FFFFFFFu;
  const U32 denormal = (U32)(F32((F32::Native)u) + F32(0.5f)).v - 0x3F000000u;
  const U32 normal = (u + 0xC8000FFFu + ((u >> 13) & 1u)) >> 13;
  U32 result = u < 0x38800000u ? denormal : normal;
  result = u >= 0x477FF000u ? U32{} + 0x7C00u : result;
  result = u > 0x7F800000u ? U32{} + 0x7E00u : result;
  store_words(sign | result, &p->bits);
}
#endif

#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
GK_INLINE void load(const float* p, F64& v) { v = (F64::Native)_mm512_maskz_cvtps_pd(0xFF, _mm256_loadu_ps(p)); }
GK_INLINE void store(F64 v, float* p) { _mm256_storeu_ps(p, _mm512_maskz_cvtpd_ps(0xFF, (__m512d)v.v)); }
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
GK_INLINE void load(const float* p, F64& v) { v = (F64::Native)_mm256_cvtps_pd(_mm_loadu_ps(p)); }
GK_INLINE void store(F64 v, float* p) { _mm_storeu_ps(p, _mm256_cvtpd_ps((__m256d)v.v)); }
#elif defined(__aarch64__)
GK_INLINE void load(const float* p, F64& v) { v = (F64::Native)vcvt_f64_f32(vld1_f32(p)); }
GK_INLINE void store(F64 v, float* p) { vst1_f32(p, vcvt_f32_f64((float64x2_t)v.v)); }
#else
GK_INLINE void load(const float* p, F64& v) {
  for (int i = 0; i < F64::lanes; ++i) v.v[i] = p[i];
}
GK_INLINE void store(F64 v, float* p) {
  for (int i = 0; i < F64::lanes; ++i) p[i] = static_cast<float>(v.v[i]);
}
#endif

// Rare conversions go by way of floats, or lane by lane.
template <class S>
GK_INLINE void load_half(const S* p, F64& v) {
  S some[F32::lanes] = {};
  memcpy(some, p, F64::lanes * sizeof(S));
  F32 wide;
  load(some, wide);
  float numbers[F32::lanes];
  wide.store(numbers);
  load(numbers, v);
}
template <class S>
GK_INLINE void store_half(F64 v, S* p) {
  float numbers[F32::lanes] = {};
  store(v, numbers);
  S some[F32::lanes];
  store(F32::load(numbers), some);
  memcpy(p, some, F64::lanes * sizeof(S));
}
GK_INLINE void load(const Bfloat16* p, F64& v) { load_half(p, v); }
GK_INLINE void load(const Float16* p, F64& v) { load_half(p, v); }
GK_INLINE void store(F64 v, Bfloat16* p) { store_half(v, p); }
GK_INLINE void store(F64 v, Float16* p) { store_half(v, p); }
GK_INLINE void load(const double* p, F32& v) {
  for (int i = 0; i < F32::lanes; ++i) v.v[i] = static_cast<float>(p[i]);
}
template <class Integer, class T, class = std::enable_if_t<std::is_integral_v<Integer>>>
GK_INLINE void load(const Integer* p, Vec<T>& v) {
  for (int i = 0; i < Vec<T>::lanes; ++i) v.v[i] = static_cast<T>(p[i]);
}
GK_INLINE void store(F32 v, double* p) {
  for (int i = 0; i < F32::lanes; ++i) p[i] = v.v[i];
}

// Lanes of T from where numbers of S lie side by side.
template <class T, class S>
GK_INLINE Vec<T> load_as(const S* p) {
  Vec<T> v;
  load(p, v);
  return v;
}

// f(data): an operand's data as what they are stored as. Integers are only ever read (load_counts).
template <class F>
GK_INLINE void with_data(const Operand& o, const F& f) {
  switch (o.dtype) {
    case DType::f32:
      return f(static_cast<float*>(o.data));
    case DType::f64:
      return f(static_cast<double*>(o.data));
    case DType::bf16:
      return f(static_cast<Bfloat16*>(o.data));
    case DType::f16:
      return f(static_cast<Float16*>(o.data));
    default:
      return;
  }
}
template <class F>
GK_INLINE void with_integers(const Operand& o, const F& f) {
  if (o.dtype == DType::i16) return f(static_cast<const int16_t*>(o.data));
  if (o.dtype == DType::i32) return f(static_cast<const int32_t*>(o.data));
  f(static_cast<const int64_t*>(o.data));
}

// `count` stretches of n elements of an operand, `apart` from the beginning of one to that of the next.
struct Runs {
  int64_t index, count, n, apart;
};

// A few numbers, without the beginning and the end of a vector loop, which take longer than they do.
template <int kParts, class S>
GK_INLINE void copy_rest(const S* from, S* to, int64_t n) {
  if constexpr (kParts > 0) {
    if (n & kParts) {
      memcpy(to, from, kParts * sizeof(S));
      from += kParts, to += kParts;
    }
    copy_rest<kParts / 2>(from, to, n);
  }
}

// Numbers to where they are stored otherwise, by way of T; many of them, some vectors at a time.
template <class T, int kVectors = 1, class S, class D>
GK_INLINE void copy(const S* from, D* to, int64_t n) {
  constexpr int lanes = Vec<T>::lanes;
  int64_t i = 0;
  if constexpr (kVectors > 1) {
    for (; i + kVectors * lanes <= n; i += kVectors * lanes) {
      GK_UNROLL
      for (int k = 0; k < kVectors; ++k) store(load_as<T>(from + i + k * lanes), to + i + k * lanes);
    }
  }
  for (; i + lanes <= n; i += lanes) store(load_as<T>(from + i), to + i);
  if constexpr (std::is_same_v<S, D>) {
    copy_rest<lanes / 2>(from + i, to + i, n);
  } else if (i < n) {
    S some[lanes] = {};
    D made[lanes];
    copy_rest<lanes / 2>(from + i, some, n);
    store(load_as<T>(some), made);
    copy_rest<lanes / 2>(made, to + i, n);
  }
}

// The same from, or to, places that are some distance apart.
template <class T, class S>
GK_INLINE void gather(const S* from, int64_t stride, T* to, int64_t n) {
  if constexpr (std::is_same_v<T, S>) {
    for (int64_t i = 0; i < n; ++i) to[i] = from[i * stride];
  } else {
    constexpr int64_t lanes = Vec<T>::lanes;
    S some[lanes] = {};
    for (int64_t i = 0; i < n; i += lanes) {
      const int64_t part = n - i < lanes ? n - i : lanes;
      for (int64_t j = 0; j < part; ++j) some[j] = from[(i + j) * stride];
      copy<T>(some, to + i, part);
    }
  }
}
template <class T, class D>
GK_INLINE void scatter(const T* from, D* to, int64_t stride, int64_t n) {
  if constexpr (std::is_same_v<T, D>) {
    for (int64_t i = 0; i < n; ++i) to[i * stride] = from[i];
  } else {
    constexpr int64_t lanes = Vec<T>::lanes;
    D made[lanes];
    for (int64_t i = 0; i < n; i += lanes) {
      const int64_t part = n - i < lanes ? n - i : lanes;
      copy<T>(from + i, made, part);
      for (int64_t j = 0; j < part; ++j) to[(i + j) * stride] = made[j];
    }
  }
}

// Runs to contiguous T, behind which there is room for a vector.
template <class T, class S>
GK_INLINE void load_runs_of(const S* data, int64_t stride, const Runs& runs, T* to) {
  const int64_t n = runs.n;
  const auto every = [&](const auto& load) {
    for (int64_t k = 0; k < runs.count; ++k, data += runs.apart, to += n) load();
  };
  if (stride == 0) {
    every([&] {
      T value;
      copy<T>(data, &value, 1);
      for (int64_t i = 0; i < n; i += Vec<T>::lanes) Vec<T>(value).store(to + i);
    });
  } else if (stride == 1 && runs.count == 1) {
    copy<T, 4>(data, to, n);
  } else if (stride == 1) {
    every([&] { copy<T>(data, to, n); });
  } else {
    every([&] { gather(data, stride, to, n); });
  }
}
template <class T>
[[gnu::noinline]] void load_counts(const Operand& o, int64_t shift, const Runs& runs, T* to) {
  with_integers(o, [&](const auto* data) { load_runs_of(data + shift + runs.index, o.elem, runs, to); });
}
template <class T>
void load_runs(const Operand& o, int64_t shift, const Runs& runs, T* to) {
  if (o.dtype >= DType::i16) return load_counts(o, shift, runs, to);
  with_data(o, [&](const auto* data) { load_runs_of(data + shift + runs.index, o.elem, runs, to); });
}

// Contiguous T to runs.
template <class T>
void store_runs(const Operand& o, int64_t shift, const Runs& runs, const T* from) {
  const int64_t stride = o.elem, n = runs.n;
  with_data(o, [&](auto* data) {
    data += shift + runs.index;
    const auto every = [&](const auto& store) {
      for (int64_t k = 0; k < runs.count; ++k, data += runs.apart, from += n) store();
    };
    if (stride == 1 && runs.count == 1) {
      copy<T, 4>(from, data, n);
    } else if (stride == 1) {
      every([&] { copy<T>(from, data, n); });
    } else {
      every([&] { scatter(from, data, stride, n); });
    }
  });
}

}  // namespace genkern::GENKERN_ISA
