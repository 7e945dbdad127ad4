// Between storage types and the type of arithmetic.
#pragma once

#include "cpu/vec.h"

namespace genkern::GENKERN_ISA {

inline float bfloat16_to_float(uint16_t b) {
  const uint32_t u = static_cast<uint32_t>(b) << 16;
  float f;
  memcpy(&f, &u, 4);
  return f;
}

// To nearest, ties to even; NaN stays NaN.
inline uint16_t float_to_bfloat16(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  const uint32_t rounded = (u + 0x7FFFu + ((u >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>((u & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FC0u : rounded);
}

// The exponent is moved by a multiplication, which normalises denormals on the way.
inline float half_to_float(uint16_t h) {
  const uint32_t magnitude = (h & 0x7FFFu) << 13;
  float f;
  memcpy(&f, &magnitude, 4);
  f *= 0x1p112f;
  uint32_t u;
  memcpy(&u, &f, 4);
  u |= f >= 65536.0f ? 0x7F800000u : 0u;
  u |= static_cast<uint32_t>(h & 0x8000u) << 16;
  memcpy(&f, &u, 4);
  return f;
}

// To nearest, ties to even. Adding a power of two as large as the last kept bit rounds a denormal result; a
// normal one is rounded as an integer. NaN stays NaN, overflow is infinity.
inline uint16_t float_to_half(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  const uint32_t sign = (u >> 16) & 0x8000u;
  u &= 0x7FFFFFFFu;
  float magnitude;
  memcpy(&magnitude, &u, 4);
  const float shifted = magnitude + 0.5f;
  uint32_t denormal;
  memcpy(&denormal, &shifted, 4);
  denormal -= 0x3F000000u;
  const uint32_t normal = (u + 0xC8000FFFu + ((u >> 13) & 1u)) >> 13;
  uint32_t result = u < 0x38800000u ? denormal : normal;
  result = u >= 0x477FF000u ? 0x7C00u : result;
  result = u > 0x7F800000u ? 0x7E00u : result;
  return static_cast<uint16_t>(sign | result);
}

// each(data, convert): the elements of an operand as they are stored, and what makes a number of one.
template <class F>
GK_INLINE void reading(const Operand& o, const F& each) {
  switch (o.dtype) {
    case DType::f32:
      return each(static_cast<const float*>(o.data), [](float v) { return v; });
    case DType::f64:
      return each(static_cast<const double*>(o.data), [](double v) { return v; });
    case DType::bf16:
      return each(static_cast<const uint16_t*>(o.data), [](uint16_t v) { return bfloat16_to_float(v); });
    case DType::f16:
      return each(static_cast<const uint16_t*>(o.data), [](uint16_t v) { return half_to_float(v); });
  }
}

// The same, and what makes one of a number.
template <class T, class F>
GK_INLINE void writing(const Operand& o, const F& each) {
  switch (o.dtype) {
    case DType::f32:
      return each(static_cast<float*>(o.data), [](T v) { return static_cast<float>(v); });
    case DType::f64:
      return each(static_cast<double*>(o.data), [](T v) { return static_cast<double>(v); });
    case DType::bf16:
      return each(static_cast<uint16_t*>(o.data), [](T v) { return float_to_bfloat16(static_cast<float>(v)); });
    case DType::f16:
      return each(static_cast<uint16_t*>(o.data), [](T v) { return float_to_half(static_cast<float>(v)); });
  }
}

// `count` stretches of n elements of an operand, `apart` from the beginning of one to that of the next.
struct Runs {
  int64_t index, count, n, apart;
};

// A few numbers, without the beginning and the end of a vector loop, which take longer than they do.
template <int kParts, class T>
GK_INLINE void copy_rest(const T* from, T* to, int64_t n) {
  if constexpr (kParts > 0) {
    if (n & kParts) {
      memcpy(to, from, kParts * sizeof(T));
      from += kParts, to += kParts;
    }
    copy_rest<kParts / 2>(from, to, n);
  }
}
template <class T>
GK_INLINE void copy(const T* from, T* to, int64_t n) {
  constexpr int lanes = Vec<T>::lanes;
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) Vec<T>::load(from + i).store(to + i);
  copy_rest<lanes / 2>(from + i, to + i, n);
}

// Runs to contiguous T, behind which there is room for a vector.
template <class T>
void load_runs(const Operand& o, int64_t shift, const Runs& runs, T* to) {
  const int64_t stride = o.elem, n = runs.n;
  const auto each = [&](auto* data, auto convert) {
    data += shift + runs.index;
    const auto every = [&](const auto& load) {
      for (int64_t k = 0; k < runs.count; ++k, data += runs.apart, to += n) load();
    };
    if (stride == 0) {
      every([&] {
        const Vec<T> value(static_cast<T>(convert(*data)));
        for (int64_t i = 0; i < n; i += Vec<T>::lanes) value.store(to + i);
      });
    } else if (stride != 1) {
      every([&] {
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(convert(data[i * stride]));
      });
    } else if constexpr (std::is_same_v<decltype(data), const T*>) {
      every([&] { copy(data, to, n); });
    } else {
      every([&] {
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(convert(data[i]));
      });
    }
  };
  reading(o, each);
}

// Contiguous T to runs.
template <class T>
void store_runs(const Operand& o, int64_t shift, const Runs& runs, const T* from) {
  const int64_t stride = o.elem, n = runs.n;
  const auto each = [&](auto* data, auto convert) {
    data += shift + runs.index;
    const auto every = [&](const auto& store) {
      for (int64_t k = 0; k < runs.count; ++k, data += runs.apart, from += n) store();
    };
    if (stride != 1) {
      every([&] {
        for (int64_t i = 0; i < n; ++i) data[i * stride] = convert(from[i]);
      });
    } else if constexpr (std::is_same_v<decltype(data), T*>) {
      every([&] { copy(from, data, n); });
    } else {
      every([&] {
        for (int64_t i = 0; i < n; ++i) data[i] = convert(from[i]);
      });
    }
  };
  writing<T>(o, each);
}

}  // namespace genkern::GENKERN_ISA
