// Elements of a tile that a formula of their own awaits, picked from vectors without a branch for each of them.
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
alignas(64) inline constexpr SetBits kSetBits = set_bits();

}  // namespace genkern

namespace genkern::GENKERN_ISA {

// Some elements of a tile, as many as a vector has lanes.
struct Places {
  const uint16_t* at;
};

// Lanes of v that are set, in the first lanes; others hold anything.
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES >= 32
inline constexpr bool kPacks = true;
#if GENKERN_VECTOR_BYTES == 64
GK_INLINE F32 pack(unsigned set, F32 v) {
  return (F32::Native)_mm512_maskz_compress_ps(static_cast<__mmask16>(set), (__m512)v.v);
}
GK_INLINE F64 pack(unsigned set, F64 v) {
  return (F64::Native)_mm512_maskz_compress_pd(static_cast<__mmask8>(set), (__m512d)v.v);
}
#else
GK_INLINE F32 pack(unsigned set, F32 v) {
  const __m128i* at = reinterpret_cast<const __m128i*>(kSetBits.at[set]);
  return (F32::Native)_mm256_permutevar8x32_ps((__m256)v.v, _mm256_cvtepu16_epi32(_mm_load_si128(at)));
}
GK_INLINE F64 pack(unsigned set, F64 v) {
  const __m128i* at = reinterpret_cast<const __m128i*>(kSetBits.at[set]);
  const __m256i lane = _mm256_cvtepu16_epi64(_mm_load_si128(at));  // as a pair of floats: 2 lane, 2 lane + 1
  const __m256i pair = _mm256_add_epi64(_mm256_or_si256(_mm256_slli_epi64(lane, 1), _mm256_slli_epi64(lane, 33)),
                                        _mm256_set1_epi64x(int64_t{1} << 32));
  return (F64::Native)_mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps((__m256d)v.v), pair));
}
#endif
#else
inline constexpr bool kPacks = false;
template <class T>
GK_INLINE Vec<T> pack(unsigned, Vec<T> v) {
  return v;
}
#endif

// The elements picked of a tile, with what kInputs inputs have there.
template <class T, int kMost, int kInputs>
class Picked {
 public:
  // i + k for each bit k that is set of the lanes.
  template <class... Inputs>
  GK_INLINE void add(unsigned set, int64_t i, const Inputs&... in) {
    if constexpr (kPacks) {
      T* to = packed_[0] + n_;
      ((pack(set, in[i]).store(to), to += kRoom), ...);
    }
    GK_UNROLL
    for (int k = 0; k < lanes; k += 8) {
      const unsigned byte = set >> k & 255;
      store_places(n_, *reinterpret_cast<const Eight*>(kSetBits.at[byte]) + static_cast<uint16_t>(i + k));
      n_ += kSetBits.count[byte];
    }
  }
  // f(places, numbers...), a vector of them at a time; the last may be there more than once.
  template <class Call, class... Inputs>
  GK_INLINE void each(const Call& f, const Inputs&... in) {
    if (n_ == 0) return;
    if constexpr (kPacks)
      for (T* to = packed_[0]; to != packed_[kInputs]; to += kRoom) Vec<T>(to[n_ - 1]).store(to + n_);
    for (int k = 0; k < lanes; k += 8) store_places(n_ + k, Eight{} + at_[n_ - 1]);
    for (int64_t i = 0; i < n_; i += lanes) call(f, i, std::make_integer_sequence<int, kInputs>(), in...);
  }

 private:
  typedef uint16_t Eight __attribute__((vector_size(16), aligned(2)));
  static constexpr int lanes = Vec<T>::lanes, kRoom = kMost + lanes;

  // (Not by memcpy, by which n_ might change, too.)
  GK_INLINE void store_places(int64_t at, Eight places) { *reinterpret_cast<Eight*>(at_ + at) = places; }
  template <class Call, int... k, class... Inputs>
  GK_INLINE void call(const Call& f, int64_t i, std::integer_sequence<int, k...>, const Inputs&... in) const {
    const Places places{at_ + i};
    if constexpr (kPacks)
      f(places, Vec<T>::load(packed_[k] + i)...);
    else
      f(places, in[places]...);
  }

  T packed_[kPacks ? kInputs : 0][kRoom];
  uint16_t at_[kMost + 16];  // room for what is stored of one vector
  int64_t n_ = 0;
};

}  // namespace genkern::GENKERN_ISA
