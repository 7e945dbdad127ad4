// Noise for a tile: Philox for a vector of counters at once, Box-Muller, and the transpose to memory order.
#pragma once

#include "cpu/engine.h"
#include "cpu/vec_math.h"

namespace genkern::GENKERN_ISA {

typedef uint64_t U64 __attribute__((vector_size(GENKERN_VECTOR_BYTES)));

// The full product of the low halves of the lanes; what the high halves hold does not matter.
GK_INLINE U64 multiply_low(U64 a, uint32_t b) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (U64)_mm512_maskz_mul_epu32(0xFF, (__m512i)a, _mm512_set1_epi64(b));
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return (U64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__x86_64__)
  return (U64)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#elif defined(__aarch64__)
  return (U64)vmull_n_u32(vmovn_u64((uint64x2_t)a), b);
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

// Ten rounds on one counter a 64-bit lane, each word in the low half: the product needs no unpacking and the
// garbage in the high halves never reaches a low one.
struct Rounds {
  U64 c0, c1, c2, c3;

  GK_INLINE explicit Rounds(U64 counter) : c0(counter), c1(counter >> 32), c2{}, c3{} {}

  GK_INLINE void step(uint32_t k0, uint32_t k1) {
    const U64 p0 = multiply_low(c0, kMultiplier0), p1 = multiply_low(c2, kMultiplier1);
    c0 = exclusive_or(p1 >> 32, c1, U64{} + k0);
    c1 = p1;
    c2 = exclusive_or(p0 >> 32, c3, U64{} + k1);
    c3 = p0;
  }
};

// Two vectors of counters, neither of which waits for the other.
GK_INLINE void ten_rounds(uint64_t seed, Rounds& a, Rounds& b) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  GK_UNROLL
  for (int round = 0; round < 10; ++round) {
    a.step(k0, k1);
    b.step(k0, k1);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
}

GK_INLINE U64 lane_numbers() {
  U64 lane;
  for (unsigned i = 0; i < sizeof(U64) / 8; ++i) lane[i] = i;
  return lane;
}

struct WordVectors {
  U32 x[4];
};

// The low halves of the lanes, in turn.
GK_INLINE U32 join(U64 even, U64 odd) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (U32)_mm512_mask_blend_epi32(0xAAAA, (__m512i)even, (__m512i)(odd << 32));
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  return (U32)_mm256_blend_epi32((__m256i)even, (__m256i)(odd << 32), 0xAA);
#else
  return (U32)((even & 0xFFFFFFFFu) | (odd << 32));
#endif
}

// The words of as many counters as a vector has 32-bit lanes, from the first on, in order: even counters in one set of
// lanes, odd ones in the other, joined at the end.
GK_INLINE WordVectors philox_vectors(uint64_t seed, uint64_t first) {
  const U64 even = first + 2 * lane_numbers();
  Rounds a(even), b(even + 1);
  ten_rounds(seed, a, b);
  return {{join(a.c0, b.c0), join(a.c1, b.c1), join(a.c2, b.c2), join(a.c3, b.c3)}};
}

// The numbers that a counter gives, and those that a block of counters gives, which are made together.
template <class T>
inline constexpr int64_t kEach = sizeof(T) == 8 ? 2 : 4;
template <class T>
inline constexpr int64_t kNoiseBlock = 4 * Vec<T>::lanes;

// What has been made of the words of each counter, all first ones, all second ones and so on, in order.
GK_INLINE void store_in_turn(F32 x0, F32 x1, F32 x2, F32 x3, float* out) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  // Within 16 bytes, which a machine moves at once, then these.
  const Halves<float> p = interleave_parts<1, 4>(x0, x1), q = interleave_parts<1, 4>(x2, x3);
  const Halves<float> a = interleave_parts<2, 4>(p.low, q.low), b = interleave_parts<2, 4>(p.high, q.high);
  const Halves<float> c = interleave_parts<4, 8>(a.low, a.high), d = interleave_parts<4, 8>(b.low, b.high);
  c.low.store(out);
  d.low.store(out + F32::lanes);
  c.high.store(out + 2 * F32::lanes);
  d.high.store(out + 3 * F32::lanes);
#else
  const Halves<float> even = interleave(x0, x2), odd = interleave(x1, x3);
  const Halves<float> a = interleave(even.low, odd.low), b = interleave(even.high, odd.high);
  a.low.store(out);
  a.high.store(out + F32::lanes);
  b.low.store(out + 2 * F32::lanes);
  b.high.store(out + 3 * F32::lanes);
#endif
}
GK_INLINE void store_in_turn(F64 x0, F64 x1, double* out) {
  const Halves<double> both = interleave(x0, x1);
  both.low.store(out);
  both.high.store(out + F64::lanes);
}

// The word in the low half of each lane, as a double: 2^52 + word has it in its low digits.
GK_INLINE F64 from_word(U64 word) {
  return Lanes<F64>::from_bits((word & 0xFFFFFFFFu) | 0x4330000000000000u) - F64(0x1p52);
}

// numbers(counter words, out) for two vectors of counters from the first on.
template <class Numbers>
GK_INLINE void wide_block(uint64_t seed, uint64_t counter, double* out, const Numbers& numbers) {
  const U64 first = counter + lane_numbers();
  Rounds a(first), b(first + F64::lanes);
  ten_rounds(seed, a, b);
  numbers(a, out);
  numbers(b, out + 2 * F64::lanes);
}

// kNoiseBlock numbers from the counter of the first on.
struct Normal {
  static GK_INLINE F32 unit(U32 word) { return open_unit(F32(__builtin_convertvector(word, F32::Native))); }
  static GK_INLINE F64 unit(U64 high, U64 low) { return open_unit(from_word(high), from_word(low)); }

  static GK_INLINE void block(uint64_t seed, uint64_t counter, float* out) {
    const WordVectors w = philox_vectors(seed, counter);
    const Pair<F32> p = box_muller(unit(w.x[0]), unit(w.x[1])), q = box_muller(unit(w.x[2]), unit(w.x[3]));
    store_in_turn(p.first, p.second, q.first, q.second, out);
  }
  static GK_INLINE void block(uint64_t seed, uint64_t counter, double* out) {
    wide_block(seed, counter, out, [](const Rounds& w, double* to) {
      const Pair<F64> p = box_muller(unit(w.c0, w.c1), unit(w.c2, w.c3));
      store_in_turn(p.first, p.second, to);
    });
  }
};

struct Uniform {
  static GK_INLINE F32 unit(U32 word) {
    return F32(__builtin_convertvector((F32::Int)(word & 0xFFFFFFu), F32::Native)) * F32(0x1p-24f);
  }
  static GK_INLINE F64 unit(U64 high, U64 low) {
    return fma(from_word(high & 0x1FFFFFu), F64(0x1p32), from_word(low)) * F64(0x1p-53);
  }

  static GK_INLINE void block(uint64_t seed, uint64_t counter, float* out) {
    const WordVectors w = philox_vectors(seed, counter);
    store_in_turn(unit(w.x[0]), unit(w.x[1]), unit(w.x[2]), unit(w.x[3]), out);
  }
  static GK_INLINE void block(uint64_t seed, uint64_t counter, double* out) {
    wide_block(seed, counter, out,
               [](const Rounds& w, double* to) { store_in_turn(unit(w.c0, w.c1), unit(w.c2, w.c3), to); });
  }
};

// Elements index ... index + n - 1 of the key's noise, at the returned place in `to`, which has room for a block more
// and what comes before the first of a counter.
template <class Kind, class T>
const T* fill(Key key, uint64_t index, int64_t n, T* to) {
  const uint64_t skip = index % kEach<T>;
  uint64_t counter = key.offset + index / kEach<T>;
  for (int64_t i = 0; i < static_cast<int64_t>(skip) + n; i += kNoiseBlock<T>, counter += kNoiseBlock<T> / kEach<T>)
    Kind::block(key.seed, counter, to + i);
  return to + skip;
}

// Room for the noise of a tile, and for the vector that its last element lies in.
template <class T>
struct alignas(64) NoiseBuffer {
  T data[kTile + kNoiseBlock<T> + kEach<T> + 64];
};

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
      made_ = fill<Normal>(key_, noise_.element_offset + sample * numel_ + s.first, s.n, buffer_.data);
    }
  }
  GK_INLINE Vec<T> operator[](int64_t i) const { return given_ ? given_[i] : Vec<T>::load(made_ + i); }

 private:
  const Noise& noise_;
  Key key_;
  int64_t numel_;
  Input<T> given_;
  const T* made_ = nullptr;
  NoiseBuffer<T> buffer_;
};

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
      const T value = of_row(row);
      const int64_t to = at + least(left, s.n - at);
      for (; at < to; ++at) made_.data[at] = value;
    }
  }
  GK_INLINE Vec<T> operator[](int64_t i) const { return given_ ? given_[i] : Vec<T>::load(made_.data + i); }

 private:
  const RowNoise& noise_;
  Key key_;
  Input<T> given_;
  Buffer<T> made_;
  int64_t first_ = 0, end_ = 0;  // the rows that a step has made the values of
  const T* values_ = nullptr;
  T rows_[kNoiseBlock<T>];

  T of_row(int64_t row) {
    if (row < first_ || row >= end_) {
      const uint64_t index = noise_.element_offset + row;
      first_ = row;
      end_ = row + kNoiseBlock<T> - static_cast<int64_t>(index % kEach<T>);
      values_ = fill<Uniform>(key_, index, end_ - first_, rows_);
    }
    return values_[row - first_];
  }
};

}  // namespace genkern::GENKERN_ISA
