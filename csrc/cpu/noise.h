// Noise for a tile: Philox for a vector of counters at once, Box-Muller, and the transpose to memory order.
#pragma once

#include "cpu/engine.h"
#include "cpu/vec_math.h"

namespace genkern::GENKERN_ISA {

typedef uint64_t U64 __attribute__((vector_size(GENKERN_VECTOR_BYTES)));
typedef uint32_t U32 __attribute__((vector_size(GENKERN_VECTOR_BYTES)));

// The full product of the low halves of the lanes; what the high halves hold does not matter.
GK_INLINE U64 multiply_low(U64 a, uint32_t b) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (U64)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, _mm512_set1_epi64(b));
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return (U64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__x86_64__)
  return (U64)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#else
  return (a & 0xFFFFFFFFu) * b;
#endif
}

GK_INLINE U64 exclusive_or(U64 a, U64 b, U64 c) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (U64)_mm512_maskz_ternarylogic_epi64(0xFF, (__m512i)a, (__m512i)b, (__m512i)c, 0x96);
#else
  return a ^ b ^ c;
#endif
}

struct WordVectors {
  U32 x[4];
};

// Ten rounds on one counter a 64-bit lane, each word in the low half: the product needs no unpacking and the
// garbage in the high halves never reaches a low one.
struct Rounds {
  U64 c0, c1, c2, c3;

  GK_INLINE void step(uint32_t k0, uint32_t k1) {
    const U64 p0 = multiply_low(c0, kMultiplier0), p1 = multiply_low(c2, kMultiplier1);
    c0 = exclusive_or(p1 >> 32, c1, U64{} + k0);
    c1 = p1;
    c2 = exclusive_or(p0 >> 32, c3, U64{} + k1);
    c3 = p0;
  }
};

GK_INLINE U32 join(U64 even, U64 odd) { return (U32)((even & 0xFFFFFFFFu) | (odd << 32)); }

// The words of the counters first ... first + 4 * bytes-in-a-vector / 16 - 1, in order: even counters in one
// set of lanes, odd ones in the other, joined at the end.
GK_INLINE WordVectors philox_vectors(uint64_t seed, uint64_t first) {
  U64 lane;
  for (unsigned i = 0; i < sizeof(U64) / 8; ++i) lane[i] = 2 * i;
  const U64 even = first + lane, odd = even + 1;
  Rounds a{even, even >> 32, U64{}, U64{}}, b{odd, odd >> 32, U64{}, U64{}};
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  GK_UNROLL
  for (int round = 0; round < 10; ++round) {
    a.step(k0, k1);
    b.step(k0, k1);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  return {{join(a.c0, b.c0), join(a.c1, b.c1), join(a.c2, b.c2), join(a.c3, b.c3)}};
}

inline constexpr int64_t kNoiseBlock = 4 * F32::lanes;  // floats that one step makes

GK_INLINE F32 to_unit(U32 word) { return open_unit(F32(__builtin_convertvector(word, F32::Native))); }

// kNoiseBlock normals, from the counter of the first on.
GK_INLINE void normal_block(uint64_t seed, uint64_t counter, float* out) {
  const WordVectors w = philox_vectors(seed, counter);
  const Pair<F32> p = box_muller(to_unit(w.x[0]), to_unit(w.x[1])), q = box_muller(to_unit(w.x[2]), to_unit(w.x[3]));
  const Halves<float> even = interleave(p.first, q.first), odd = interleave(p.second, q.second);
  const Halves<float> a = interleave(even.low, odd.low), b = interleave(even.high, odd.high);
  a.low.store(out);
  a.high.store(out + F32::lanes);
  b.low.store(out + 2 * F32::lanes);
  b.high.store(out + 3 * F32::lanes);
}

// Elements index ... index + n - 1 of the key's noise, at the returned place in `buffer`.
struct NoiseBuffer {
  alignas(64) float narrow[kTile + kNoiseBlock + 4 + 64];
  double wide[kTile + 2 + 64];
};

inline const float* fill_normal(Key key, uint64_t index, int64_t n, NoiseBuffer& buffer, float) {
  const uint64_t skip = index % 4;
  uint64_t counter = key.offset + index / 4;
  for (int64_t i = 0; i < static_cast<int64_t>(skip) + n; i += kNoiseBlock, counter += kNoiseBlock / 4)
    normal_block(key.seed, counter, buffer.narrow + i);
  return buffer.narrow + skip;
}

inline const double* fill_normal(Key key, uint64_t index, int64_t n, NoiseBuffer& buffer, double) {
  const uint64_t skip = index % 2;
  uint64_t counter = key.offset + index / 2;
  for (int64_t i = 0; i < static_cast<int64_t>(skip) + n; i += 2, ++counter) {
    const Words w = philox(key.seed, counter);
    const Pair<double> pair = box_muller(open_unit(w.x0, w.x1), open_unit(w.x2, w.x3));
    buffer.wide[i] = pair.first;
    buffer.wide[i + 1] = pair.second;
  }
  return buffer.wide + skip;
}

// The eps of a tile: the caller's, or made from the key.
template <class T>
class Eps {
 public:
  Eps(const Noise& noise, const Extent& extent)
      : noise_(noise), key_(noise.key.resolve()), numel_(extent.numel()), given_(noise.eps) {}

  void fetch(const Span& s, int64_t sample) {
    if (given_) {
      given_.fetch(s, sample * noise_.eps_sample);
    } else {
      made_ = fill_normal(key_, noise_.element_offset + sample * numel_ + s.first, s.n, buffer_, T());
    }
  }
  GK_INLINE Vec<T> operator[](int64_t i) const { return given_ ? given_[i] : Vec<T>::load(made_ + i); }

 private:
  const Noise& noise_;
  Key key_;
  int64_t numel_;
  Input<T> given_;
  const T* made_ = nullptr;
  NoiseBuffer buffer_;
};

// Elements index ... of the uniform stream.
inline void fill_uniform(Key key, uint64_t index, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) {
    const Words w = philox(key.seed, key.offset + (index + i) / 4);
    const uint32_t words[4] = {w.x0, w.x1, w.x2, w.x3};
    out[i] = unit(words[(index + i) % 4]);
  }
}

inline void fill_uniform(Key key, uint64_t index, int64_t n, double* out) {
  for (int64_t i = 0; i < n; ++i) {
    const Words w = philox(key.seed, key.offset + (index + i) / 2);
    out[i] = (index + i) % 2 ? unit(w.x2, w.x3) : unit(w.x0, w.x1);
  }
}

// One uniform value a row: the caller's, or made from the key.
template <class T>
class RowUniform {
 public:
  RowUniform(const RowNoise& noise, const Extent&)
      : noise_(noise), key_(noise.eps ? Key{} : noise.key.resolve()), given_(noise.eps) {}

  void fetch(const Span& s) {
    if (given_) return given_.fetch(s);
    const int64_t event = s.extent.event();
    int64_t left = event - (s.first - s.row * event);
    for (int64_t at = 0, row = s.row; at < s.n; ++row, left = event) {
      if (row != row_) fill_uniform(key_, noise_.element_offset + row, 1, &value_);
      row_ = row;
      const int64_t to = at + least(left, s.n - at);
      for (; at < to; ++at) made_.data[at] = value_;
    }
  }
  GK_INLINE Vec<T> operator[](int64_t i) const { return given_ ? given_[i] : Vec<T>::load(made_.data + i); }

 private:
  const RowNoise& noise_;
  Key key_;
  Input<T> given_;
  int64_t row_ = -1;
  T value_ = 0;
  Buffer<T> made_;
};

}  // namespace genkern::GENKERN_ISA
