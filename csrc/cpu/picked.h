// Elements of a tile that a formula of their own awaits, picked from vectors without a branch for each of them.
#pragma once

#include "cpu/vec.h"

namespace genkern::GENKERN_ISA {

// Some elements of a tile, as many as a vector has lanes.
template <class T>
struct Places {
  using Index = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;
  const Index* at;
};

// pack(set, v): the lanes of v whose bits are set, in the first lanes; others hold anything.
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
inline constexpr bool kPacks = true;
GK_INLINE F32 pack(unsigned set, F32 v) {
  return (F32::Native)_mm512_maskz_compress_ps(static_cast<__mmask16>(set), (__m512)v.v);
}
GK_INLINE F64 pack(unsigned set, F64 v) {
  return (F64::Native)_mm512_maskz_compress_pd(static_cast<__mmask8>(set), (__m512d)v.v);
}
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
inline constexpr bool kPacks = true;
// The bits that are set of a byte, in order.
struct SetBits {
  uint8_t at[256][8];
};
constexpr SetBits set_bits() {
  SetBits found{};
  for (int byte = 0; byte < 256; ++byte)
    for (int bit = 0, n = 0; bit < 8; ++bit)
      if (byte >> bit & 1) found.at[byte][n++] = static_cast<uint8_t>(bit);
  return found;
}
inline constexpr SetBits kSetBits = set_bits();
GK_INLINE F32 pack(unsigned set, F32 v) {
  const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kSetBits.at[set]));
  return (F32::Native)_mm256_permutevar8x32_ps((__m256)v.v, _mm256_cvtepu8_epi32(bits));
}
GK_INLINE F64 pack(unsigned set, F64 v) {  // as pairs of floats
  const unsigned low = set & 1, second = set >> 1 & 1, third = set >> 2 & 1, fourth = set >> 3 & 1;
  const F32 pairs = (F32::Native)v.v;
  return (F64::Native)pack(low * 3 | second * 12 | third * 48 | fourth * 192, pairs).v;
}
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
  // The elements i + k for bits k that are set; numbers are those of the vector at i.
  template <class... Numbers>
  GK_INLINE void add(unsigned set, int64_t i, Numbers... numbers) {
    Int places;
    for (int k = 0; k < lanes; ++k) places[k] = static_cast<Index>(k);
    add_of(set, places + static_cast<Index>(i), numbers...);
  }
  // Those among a vector of picked ones.
  template <class... Numbers>
  GK_INLINE void add(unsigned set, Places<T> from, Numbers... numbers) {
    add_of(set, *reinterpret_cast<const Anywhere*>(from.at), numbers...);
  }

  int64_t size() const { return n_; }

  // f(places, how many, numbers...), a vector of them at a time; the last is filled up with one of them.
  template <class Call, class... Inputs>
  GK_INLINE void each(const Call& f, const Inputs&... in) {
    if (n_ == 0) return;
    store(n_, Int{} + places_[n_ - 1]);
    if constexpr (kPacks)
      for (T(&row)[kRoom] : packed_) Vec<T>(row[n_ - 1]).store(row + n_);
    for (int64_t i = 0; i < n_; i += lanes) call(f, i, std::make_integer_sequence<int, kInputs>(), in...);
  }

 private:
  using Index = typename Places<T>::Index;
  using Int = typename Vec<T>::Int;
  using Anywhere = typename Vector<T>::IntAnywhere;
  static constexpr int lanes = Vec<T>::lanes, kRoom = kMost + lanes;

  GK_INLINE void store(int64_t at, Int places) { *reinterpret_cast<Anywhere*>(places_ + at) = places; }

  template <class... Numbers>
  GK_INLINE void add_of(unsigned set, Int places, Numbers... numbers) {
    if constexpr (kPacks) {
      store(n_, bits(pack(set, from_bits<T>(places))));
      int row = 0;
      (pack(set, numbers).store(packed_[row++] + n_), ...);
      n_ += __builtin_popcount(set);
    } else {
      for (int k = 0; k < lanes; ++k) {
        places_[n_] = places[k];
        n_ += set >> k & 1;
      }
    }
  }
  template <class Call, int... k, class... Inputs>
  GK_INLINE void call(const Call& f, int64_t i, std::integer_sequence<int, k...>, const Inputs&... in) const {
    const Places<T> places{places_ + i};
    if constexpr (kPacks)
      f(places, n_ - i, Vec<T>::load(packed_[k] + i)...);
    else
      f(places, n_ - i, in[places]...);
  }

  Index places_[kRoom];
  T packed_[kPacks ? kInputs : 1][kRoom];
  int64_t n_ = 0;
};

}  // namespace genkern::GENKERN_ISA
