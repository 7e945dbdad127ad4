// Stands in for CUDA's header of this name: storage and conversions. There is no arithmetic on __half, so that a
// kernel that rounds each step to half does not compile here, rather than compute something else.
#pragma once

#include <bit>
#include <cstdint>

#include "emulator/device.h"
#include "emulator/math.h"

namespace emulator {

// Round to nearest even; NaN becomes CUDA's canonical one.
inline uint16_t half_bits(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), size = bits & 0x7FFFFFFFu;
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  if (size > 0x7F800000u) return 0x7FFFu;
  if (size >= 0x477FF000u) return sign | 0x7C00u;  // 65520, halfway to what would follow the greatest
  if (size < 0x38800000u) {                        // below 2^-14: a multiple of 2^-24, which is the ulp of 1/2
    const float shifted = std::bit_cast<float>(size) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3F000000u);
  }
  return sign | static_cast<uint16_t>((size - 0x38000000u + 0x0FFFu + (size >> 13 & 1u)) >> 13);
}

inline float half_value(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31u, fraction = bits & 0x3FFu;
  if (exponent == 0) {
    const float size = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(size));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

}  // namespace emulator

struct __half_raw {
  unsigned short x;
};
struct __half {
  unsigned short __x;
  __half() = default;
  explicit __half(float value) : __x(emulator::half_bits(value)) {}
  __half(__half_raw raw) : __x(raw.x) {}
  explicit operator float() const { return emulator::half_value(__x); }
};
struct alignas(4) __half2 {
  __half x, y;
};
using half = __half;
using half2 = __half2;

inline __half __ushort_as_half(unsigned short bits) { return __half_raw{bits}; }
inline unsigned short __half_as_ushort(__half h) { return h.__x; }
inline float __half2float(__half h) { return static_cast<float>(h); }
inline __half __float2half_rn(float value) { return __half(value); }
inline __half __float2half(float value) { return __half(value); }
inline __half2 __halves2half2(__half x, __half y) { return {x, y}; }
inline __half __low2half(__half2 h) { return h.x; }
inline __half __high2half(__half2 h) { return h.y; }
inline float __low2float(__half2 h) { return static_cast<float>(h.x); }
inline float __high2float(__half2 h) { return static_cast<float>(h.y); }
inline float2 __half22float2(__half2 h) { return {static_cast<float>(h.x), static_cast<float>(h.y)}; }
inline __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
inline __half2 __float22half2_rn(float2 v) { return {__half(v.x), __half(v.y)}; }
inline __half2 __float2half2_rn(float v) { return {__half(v), __half(v)}; }
