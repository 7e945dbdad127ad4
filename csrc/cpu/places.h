// Which elements of a tile have a property, as a list of places: without a branch for each of them.
#pragma once

#include "cpu/vec.h"

namespace genkern {

// The bits that are set of 8, and how many they are.
struct SetBits {
  uint16_t at[256][8];
  uint8_t count[256];
};
constexpr SetBits set_bits() {
  SetBits found{};
  for (int byte = 0; byte < 256; ++byte)
    for (int bit = 0; bit < 8; ++bit)
      if (byte >> bit & 1) found.at[byte][found.count[byte]++] = static_cast<uint16_t>(bit);
  return found;
}
inline constexpr SetBits kSetBits = set_bits();

}  // namespace genkern

namespace genkern::GENKERN_ISA {

// Some elements of a tile, as many as a vector has lanes.
struct Places {
  const uint16_t* at;
};

template <int kMost, int lanes>
class PlaceList {
 public:
  // i + k for each bit k that is set of the lanes.
  GK_INLINE void append(unsigned set, int64_t i) {
    constexpr int step = lanes < 8 ? lanes : 8;
    GK_UNROLL
    for (int k = 0; k < lanes; k += step) {
      const unsigned byte = set >> k & 255;
      Eight eight;
      __builtin_memcpy(&eight, kSetBits.at[byte], sizeof eight);
      eight += static_cast<uint16_t>(i + k);
      __builtin_memcpy(at_ + n_, &eight, sizeof eight);
      n_ += kSetBits.count[byte];
    }
  }
  // f(places), a vector of them at a time; the last may be there more than once.
  template <class Call>
  GK_INLINE void each(const Call& f) {
    if (n_ == 0) return;
    for (int64_t i = n_; i < n_ + lanes; ++i) at_[i] = at_[n_ - 1];
    for (int64_t i = 0; i < n_; i += lanes) f(Places{at_ + i});
  }

 private:
  typedef uint16_t Eight __attribute__((vector_size(16)));
  uint16_t at_[kMost + 16];
  int64_t n_ = 0;
};

}  // namespace genkern::GENKERN_ISA
