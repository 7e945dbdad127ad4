// Turns Philox words into noise. F is float, double or a vector of them.
#pragma once

#include "math/elementary.h"
#include "math/philox.h"

namespace genkern {

// u1, u2 in (0, 1] (Box & Muller 1958); the cosine comes first.
template <class F>
GK_INLINE Pair<F> box_muller(F u1, F u2) {
  const F radius = sqrt(F(-2) * log_unit(u1));
  const Pair<F> angle = cos_sin_2pi(u2);
  return {radius * angle.first, radius * angle.second};
}

// x * 2^-32 is exact in float, so this rounds once with or without a fused multiply-add.
template <class F>
GK_INLINE F open_unit(F word) {
  return fma(word, F(0x1p-32f), F(0x1p-33f));
}

// The same of two words, in double: the products are exact, too.
template <class F>
GK_INLINE F open_unit(F high, F low) {
  return fma(high, F(0x1p-32), low * F(0x1p-64)) + F(0x1p-65);
}

GK_INLINE float unit(uint32_t word) { return static_cast<float>(word & 0xFFFFFFu) * 0x1p-24f; }

GK_INLINE double unit(uint32_t high, uint32_t low) {
  return static_cast<double>((static_cast<uint64_t>(high) << 32 | low) & ((1ull << 53) - 1)) * 0x1p-53;
}

}  // namespace genkern
