// Philox4x32-10 (Salmon et al. 2011), for one counter or for as many as a vector has lanes.
#pragma once

#include "math/config.h"

namespace genkern {

struct Key {
  uint64_t seed, offset;
};

inline constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
inline constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;

// The upper counter words of a reserved key, "genkern" in ASCII: torch's own kernels use counters with small
// upper words, so a folded key shares no block with them.
inline constexpr uint64_t kFoldCounter = 0x65726E0067656E6Bull;

struct Words {
  uint32_t x0, x1, x2, x3;
};

// The upper half of the product: one instruction on a GPU, which would else form all 64 bits.
GK_INLINE uint32_t multiply_high(uint32_t a, uint32_t b) {
#ifdef __CUDA_ARCH__
  return __umulhi(a, b);
#else
  return static_cast<uint32_t>(static_cast<uint64_t>(a) * b >> 32);
#endif
}

GK_INLINE Words philox(uint64_t key, uint64_t counter_low, uint64_t counter_high = 0) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  uint32_t c0 = static_cast<uint32_t>(counter_low), c1 = static_cast<uint32_t>(counter_low >> 32);
  uint32_t c2 = static_cast<uint32_t>(counter_high), c3 = static_cast<uint32_t>(counter_high >> 32);
  GK_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = multiply_high(kMultiplier0, c0), low0 = kMultiplier0 * c0;
    const uint32_t high1 = multiply_high(kMultiplier1, c2), low1 = kMultiplier1 * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {c0, c1, c2, c3};
}

GK_INLINE Key as_key(Words w) {
  return {w.x0 | static_cast<uint64_t>(w.x1) << 32, w.x2 | static_cast<uint64_t>(w.x3) << 32};
}

GK_INLINE Key split(Key key, uint64_t index) { return as_key(philox(key.seed, key.offset + index)); }

GK_INLINE Key fold(uint64_t seed, uint64_t offset) { return as_key(philox(seed, offset, kFoldCounter)); }

GK_INLINE void store_key(uint64_t* to, Key key) {
  to[0] = key.seed;
  to[1] = key.offset;
}

}  // namespace genkern
