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

template <class V>
GK_INLINE V exclusive_or(V a, V b, V c) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  return (V)_mm512_maskz_ternarylogic_epi64(0xFF, (__m512i)a, (__m512i)b, (__m512i)c, 0x96);
#else
  return a ^ b ^ c;
#endif
}

// The keys of the rounds. The last ones fill both halves of a lane.
struct Schedule {
  U64 k0[10], k1[10];

  explicit Schedule(uint64_t seed) {
    uint32_t low = static_cast<uint32_t>(seed), high = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round, low += kWeyl0, high += kWeyl1) {
      k0[round] = U64{} + low;
      k1[round] = U64{} + high;
    }
    k0[9] |= k0[9] << 32;
    k1[9] |= k1[9] << 32;
  }
};

// A counter a 64-bit lane, each of its words in the low half: the product needs no unpacking, and the garbage in the
// high halves never reaches a low one.
struct Rounds {
  U64 c0, c1, c2, c3;

  GK_INLINE void step(U64 k0, U64 k1) {
    const U64 p0 = multiply_low(c0, kMultiplier0), p1 = multiply_low(c2, kMultiplier1);
    c0 = exclusive_or(p1 >> 32, c1, k0);
    c1 = p1;
    c2 = exclusive_or(p0 >> 32, c3, k1);
    c3 = p0;
  }
};

// Counters are taken in two vectors, neither of which waits for the other.
inline constexpr int64_t kCounters = sizeof(U64) / 4;
struct TwoRounds {
  Rounds a, b;
};

// The order of the counters in a vector of n times 16 bytes: the first 16 bytes have every n-th counter, the next ones
// those that follow them. So results that are interleaved within 16 bytes, which takes no moves across them, lie in
// memory order.
GK_INLINE U64 lane_counters() {
  constexpr unsigned n = sizeof(U64) / 16;
  U64 lane;
  for (unsigned i = 0; i < 2 * n; ++i) lane[i] = i % 2 * n + i / 2;
  return lane;
}

// Takes the first (or second) word of every lane of two vectors, and puts those of the same 16 bytes side by side.
template <int kSecond>
GK_INLINE U32 join(U64 a, U64 b) {
  return (U32)shuffle(F32((F32::Native)a), F32((F32::Native)b),
                      [](int i) { return i / 4 * 4 + i % 2 * 2 + kSecond + i % 4 / 2 * F32::lanes; })
      .v;
}

struct WordVectors {
  U32 x[4];
};

// Philox for counters of the same upper half, which makes half of the first two rounds the same for all.
class Philox {
 public:
  Philox(uint64_t seed, const Schedule& keys, uint32_t upper) : keys_(keys) {
    const uint64_t product = static_cast<uint64_t>(kMultiplier0) * (upper ^ static_cast<uint32_t>(seed));
    second_ = keys.k1[1] ^ (product >> 32);
    third_ = keys.k1[2] ^ product;
  }

  // After `count` rounds. A counter is given by its lower half times kMultiplier0.
  GK_INLINE TwoRounds rounds(int count, uint64_t product) const {
    const Schedule& keys = where_they_lie();
    const U64 spread = lane_counters() * kMultiplier0;
    TwoRounds both{three(product + spread), three(product + (spread + kCounters / 2 * uint64_t{kMultiplier0}))};
    GK_UNROLL
    for (int round = 3; round < count; ++round) {
      both.a.step(keys.k0[round], keys.k1[round]);
      both.b.step(keys.k0[round], keys.k1[round]);
    }
    return both;
  }

  // The last round on whole vectors of words.
  GK_INLINE WordVectors words(uint64_t product) const {
    const Schedule& keys = where_they_lie();
    const auto [a, b] = rounds(9, product);
    const U64 a0 = multiply_low(a.c0, kMultiplier0), a1 = multiply_low(a.c2, kMultiplier1);
    const U64 b0 = multiply_low(b.c0, kMultiplier0), b1 = multiply_low(b.c2, kMultiplier1);
    return {{exclusive_or(join<1>(a1, b1), join<0>(a.c1, b.c1), (U32)keys.k0[9]), join<0>(a1, b1),
             exclusive_or(join<1>(a0, b0), join<0>(a.c3, b.c3), (U32)keys.k1[9]), join<0>(a0, b0)}};
  }

 private:
  const Schedule& keys_;
  U64 second_, third_;

  // The address of the keys, hidden from the compiler, which else would copy them to the stack before each loop.
  GK_INLINE const Schedule& where_they_lie() const {
    const Schedule* keys = &keys_;
    asm("" : "+r"(keys));
    return *keys;
  }

  GK_INLINE Rounds three(U64 p0) const {
    const U64 p1 = multiply_low((p0 >> 32) ^ keys_.k1[0], kMultiplier1);
    const U64 q0 = multiply_low((p1 >> 32) ^ keys_.k0[1], kMultiplier0), q1 = multiply_low(p0 ^ second_, kMultiplier1);
    return {exclusive_or(q1 >> 32, p1, keys_.k0[2]), q1, (q0 >> 32) ^ third_, q0};
  }
};

// The numbers that a counter gives, and those that a block of counters gives, which are made together.
template <class T>
inline constexpr int64_t kEach = sizeof(T) == 8 ? 2 : 4;
template <class T>
inline constexpr int64_t kNoiseBlock = kCounters * kEach<T>;

// Stores in memory order the numbers that were made of the counters' words: x0 of their first words, x1 of their
// second.
GK_INLINE void store_in_turn(F32 x0, F32 x1, F32 x2, F32 x3, float* out) {
  const Halves<float> p = interleave_parts<1, 4>(x0, x1), q = interleave_parts<1, 4>(x2, x3);
  const Halves<float> a = interleave_parts<2, 4>(p.low, q.low), b = interleave_parts<2, 4>(p.high, q.high);
  a.low.store(out);
  a.high.store(out + F32::lanes);
  b.low.store(out + 2 * F32::lanes);
  b.high.store(out + 3 * F32::lanes);
}
GK_INLINE void store_in_turn(F64 x0, F64 x1, double* out) {
  const Halves<double> both = interleave_parts<1, 2>(x0, x1);
  both.low.store(out);
  both.high.store(out + F64::lanes);
}

// The low half of each lane as a double: 2^52 + word has it in its last digits.
GK_INLINE F64 from_word(U64 word) {
  const U64 top = U64{} + 0x4330000000000000u;
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 64
  const U64 number = (U64)_mm512_mask_blend_epi32(0xAAAA, (__m512i)word, (__m512i)top);
#elif defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
  const U64 number = (U64)_mm256_blend_epi32((__m256i)word, (__m256i)top, 0xAA);
#else
  const U64 number = (word & 0xFFFFFFFFu) | top;
#endif
  return F64((F64::Native)number) - F64(0x1p52);
}

// A block of numbers, from the counter whose lower half is given, times kMultiplier0.
struct Normal {
  static GK_INLINE F32 unit(U32 word) {
#if defined(__x86_64__) && GENKERN_VECTOR_BYTES == 32
    // AVX2 turns no unsigned number into a float. The halves of a word become the last digits of two powers of two, and
    // what is taken off these is exact.
    const __m256i high = _mm256_blend_epi16((__m256i)(word >> 16), (__m256i)bits(F32(0x1p7f)), 0xAA);
    const __m256i low = _mm256_blend_epi16((__m256i)word, (__m256i)bits(F32(0x1p-9f)), 0xAA);
    return F32((F32::Native)high) - F32(0x1p7f + 0x1p-9f) + F32((F32::Native)low) + F32(0x1p-33f);
#else
    return open_unit(F32(__builtin_convertvector(word, F32::Native)));
#endif
  }
  static GK_INLINE F64 unit(U64 high, U64 low) { return open_unit(from_word(high), from_word(low)); }

  static GK_INLINE void block(const Philox& philox, uint64_t product, float* out) {
    const WordVectors w = philox.words(product);
    const Pair<F32> p = box_muller(unit(w.x[0]), unit(w.x[1])), q = box_muller(unit(w.x[2]), unit(w.x[3]));
    store_in_turn(p.first, p.second, q.first, q.second, out);
  }
  static GK_INLINE void block(const Philox& philox, uint64_t product, double* out) {
    const auto [a, b] = philox.rounds(10, product);
    store(a, out);
    store(b, out + 2 * F64::lanes);
  }

 private:
  static GK_INLINE void store(const Rounds& w, double* out) {
    const Pair<F64> p = box_muller(unit(w.c0, w.c1), unit(w.c2, w.c3));
    store_in_turn(p.first, p.second, out);
  }
};

struct Uniform {
  static GK_INLINE F32 unit(U32 word) {
    return F32(__builtin_convertvector((F32::Int)(word & 0xFFFFFFu), F32::Native)) * F32(0x1p-24f);
  }
  static GK_INLINE F64 unit(U64 high, U64 low) {
    return fma(from_word(high & 0x1FFFFFu), F64(0x1p32), from_word(low)) * F64(0x1p-53);
  }

  static GK_INLINE void block(const Philox& philox, uint64_t product, float* out) {
    const WordVectors w = philox.words(product);
    store_in_turn(unit(w.x[0]), unit(w.x[1]), unit(w.x[2]), unit(w.x[3]), out);
  }
  static GK_INLINE void block(const Philox& philox, uint64_t product, double* out) {
    const auto [a, b] = philox.rounds(10, product);
    store_in_turn(unit(a.c0, a.c1), unit(a.c2, a.c3), out);
    store_in_turn(unit(b.c0, b.c1), unit(b.c2, b.c3), out + 2 * F64::lanes);
  }
};

// The noise of a key.
class Source {
 public:
  explicit Source(Key key) : key_(key), keys_(key.seed) {}

  // Elements index ... index + n - 1, at the returned place in `to`, which has room for a block more and what comes
  // before the first of a counter.
  template <class Kind, class T>
  const T* fill(uint64_t index, int64_t n, T* to) const {
    const uint64_t skip = index % kEach<T>;
    const T* const first = to + skip;
    const T* const end = first + n;
    uint64_t counter = key_.offset + index / kEach<T>;
    while (to < end) {
      const uint32_t upper = static_cast<uint32_t>(counter >> 32);
      const Philox philox(key_.seed, keys_, upper);
      const int64_t left = (int64_t{1} << 32) - static_cast<int64_t>(counter & 0xFFFFFFFFu);  // of this upper half
      uint64_t product = (counter & 0xFFFFFFFFu) * kMultiplier0;
      const int64_t blocks = least((end - to + kNoiseBlock<T> - 1) / kNoiseBlock<T>, left / kCounters);
      for (const T* const last = to + blocks * kNoiseBlock<T>; to != last; to += kNoiseBlock<T>) {
        Kind::block(philox, product, to);
        product += kCounters * uint64_t{kMultiplier0};
      }
      counter += static_cast<uint64_t>(blocks * kCounters);
      if (to < end && left % kCounters != 0) {
        carry<Kind>(counter, to);
        counter += kCounters;
        to += kNoiseBlock<T>;
      }
    }
    return first;
  }

 private:
  Key key_;
  Schedule keys_;

  // A block within which the lower half of the counter overflows: with the upper half before, and with that after.
  template <class Kind, class T>
  __attribute__((noinline)) void carry(uint64_t counter, T* to) const {
    const uint32_t upper = static_cast<uint32_t>(counter >> 32), lower = static_cast<uint32_t>(counter);
    const uint64_t product = static_cast<uint64_t>(lower) * kMultiplier0;
    T after[kNoiseBlock<T>];
    Kind::block(Philox(key_.seed, keys_, upper), product, to);
    Kind::block(Philox(key_.seed, keys_, upper + 1), product - (uint64_t{kMultiplier0} << 32), after);
    for (int64_t i = int64_t{0u - lower} * kEach<T>; i < kNoiseBlock<T>; ++i) to[i] = after[i];
  }
};

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
      : noise_(noise), source_(noise.key.resolve()), numel_(extent.numel()), given_(noise.eps) {}

  void fetch(const Span& s, int64_t sample) {
    if (given_) {
      given_.fetch(s, sample * noise_.eps_sample);
    } else {
      made_ = source_.fill<Normal>(noise_.element_offset + sample * numel_ + s.first, s.n, buffer_.data);
    }
  }
  GK_INLINE Vec<T> operator[](int64_t i) const { return given_ ? given_[i] : Vec<T>::load(made_ + i); }

 private:
  const Noise& noise_;
  Source source_;
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
      : noise_(noise), source_(noise.eps ? Key{} : noise.key.resolve()), given_(noise.eps) {}

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
  Source source_;
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
      values_ = source_.fill<Uniform>(index, end_ - first_, rows_);
    }
    return values_[row - first_];
  }
};

}  // namespace genkern::GENKERN_ISA
