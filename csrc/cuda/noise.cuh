// Noise for a group: each Philox counter once, where groups and counters begin together.
#pragma once

#include "cuda/storage.cuh"
#include "math/normal.h"

namespace genkern::cuda {

template <class T>
inline constexpr int kEach = sizeof(T) == 8 ? 2 : 4;  // values of a counter; two words, or four for double, give two

// Two values from the words that stand for them.
struct Normal {
  GK_DEVICE Pair<float> operator()(uint32_t a, uint32_t b) const {
    return box_muller(open_unit(static_cast<float>(a)), open_unit(static_cast<float>(b)));
  }
  GK_DEVICE Pair<double> operator()(const Words& w) const {
    return box_muller(open_unit(double(w.x0), double(w.x1)), open_unit(double(w.x2), double(w.x3)));
  }
};
struct Uniform {
  GK_DEVICE Pair<float> operator()(uint32_t a, uint32_t b) const { return {unit(a), unit(b)}; }
  GK_DEVICE Pair<double> operator()(const Words& w) const { return {unit(w.x0, w.x1), unit(w.x2, w.x3)}; }
};

// The values of a counter; a pair of them, the second if `upper`, where a group has no more.
template <class Distribution>
GK_DEVICE void block_of(const Words& w, float (&out)[4], bool) {
  const Pair<float> p = Distribution()(w.x0, w.x1), q = Distribution()(w.x2, w.x3);
  out[0] = p.first, out[1] = p.second, out[2] = q.first, out[3] = q.second;
}
template <class Distribution>
GK_DEVICE void block_of(const Words& w, float (&out)[2], bool upper) {
  const Pair<float> p = Distribution()(upper ? w.x2 : w.x0, upper ? w.x3 : w.x1);
  out[0] = p.first, out[1] = p.second;
}
template <class Distribution>
GK_DEVICE void block_of(const Words& w, double (&out)[2], bool) {
  const Pair<double> p = Distribution()(w);
  out[0] = p.first, out[1] = p.second;
}

// V values from element `index` of the stream on.
template <class Distribution, class T, int V>
GK_DEVICE void stream(Key key, uint64_t index, T (&out)[V]) {
  constexpr int block_size = V < kEach<T> ? 2 : kEach<T>, blocks_each = kEach<T> / block_size;
  static_assert(V == 1 || V % block_size == 0);
  const auto make = [&](uint64_t block, T(&values)[block_size]) {
    block_of<Distribution>(philox(key.seed, key.offset + block / blocks_each), values, block % blocks_each != 0);
  };
  const uint64_t first = index / block_size;
  const int shift = static_cast<int>(index % block_size);
  T block[block_size];
  if (V == 1) {
    make(first, block);
    out[0] = shift == 0 ? block[0] : block[1];
    return;
  }
  if (shift == 0) {
    GK_UNROLL
    for (int c = 0; c < V / block_size; ++c) {
      make(first + c, block);
      GK_UNROLL
      for (int k = 0; k < block_size; ++k) out[c * block_size + k] = block[k];
    }
    return;
  }
  // Groups that straddle counters: each value finds its place by selection, since an index that is not known would
  // leave the registers.
  GK_NO_UNROLL
  for (int c = 0; c <= V / block_size; ++c) {
    make(first + c, block);
    const int from = c * block_size - shift;
    GK_UNROLL
    for (int k = 0; k < block_size; ++k) {
      GK_UNROLL
      for (int place = 0; place < V; ++place) out[place] = from + k == place ? block[k] : out[place];
    }
  }
}

// The key of a launch, for every thread. From memory it is read, and folded, by one thread of a block, and the first
// block leaves behind what was used.
GK_DEVICE Key block_key(const KeySource& source) {
  __shared__ Key shared;
  if (!source.seed && !source.raw && !source.out) return source.value;
  if (threadIdx.x == 0) {
    shared = source.resolve();
    if (blockIdx.x == 0 && source.out) store_key(source.out, shared);
  }
  __syncthreads();
  return shared;
}

// The eps of a group: the caller's, or made from the key.
template <class T, class S, class Span>
class Eps {
 public:
  GK_DEVICE Eps(const Noise& noise, const Extent& extent)
      : noise_(noise), numel_(extent.numel()), key_(noise.eps ? Key{} : block_key(noise.key)) {}

  GK_DEVICE void fetch(const Span& s, int64_t sample) {
    if (noise_.eps) {
      load<S>(noise_.eps, sample * noise_.eps_sample, s, values_);
    } else {
      stream<Normal>(key_, noise_.element_offset + static_cast<uint64_t>(sample * numel_ + s.first), values_);
    }
  }
  GK_DEVICE T operator[](int64_t i) const { return values_[i]; }

 private:
  const Noise& noise_;
  int64_t numel_;
  Key key_;
  T values_[Span::n];
};

// One uniform value a row: the caller's, or made from the key.
template <class T, class Span>
class RowUniform {
 public:
  GK_DEVICE RowUniform(const RowNoise& noise, const Extent&)
      : noise_(noise), key_(noise.eps ? Key{} : block_key(noise.key)) {}

  GK_DEVICE void fetch(const Span& s) {
    if (noise_.eps) {
      with_storage<T>(noise_.eps.dtype, [&](auto type) {
        const auto* rows = static_cast<const decltype(type)*>(noise_.eps.data);
        value_ = static_cast<T>(widen(rows[static_cast<int64_t>(s.row) * noise_.eps.row]));
      });
    } else {
      T value[1];
      stream<Uniform>(key_, noise_.element_offset + static_cast<uint64_t>(s.row), value);
      value_ = value[0];
    }
  }
  GK_DEVICE T operator[](int64_t) const { return value_; }

 private:
  const RowNoise& noise_;
  Key key_;
  T value_;
};

}  // namespace genkern::cuda
