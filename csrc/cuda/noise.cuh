// Noise for a group: each Philox counter once, where groups and counters begin together.
#pragma once

#include "cuda/storage.cuh"
#include "math/normal.h"

namespace genkern::cuda {

// The noise of one counter.
GK_DEVICE void normals(Key key, uint64_t counter, float (&out)[4]) {
  const Words w = philox(key.seed, key.offset + counter);
  const Pair<float> p = box_muller(open_unit(static_cast<float>(w.x0)), open_unit(static_cast<float>(w.x1)));
  const Pair<float> q = box_muller(open_unit(static_cast<float>(w.x2)), open_unit(static_cast<float>(w.x3)));
  out[0] = p.first, out[1] = p.second, out[2] = q.first, out[3] = q.second;
}
GK_DEVICE void normals(Key key, uint64_t counter, double (&out)[2]) {
  const Words w = philox(key.seed, key.offset + counter);
  const Pair<double> p = box_muller(open_unit(w.x0, w.x1), open_unit(w.x2, w.x3));
  out[0] = p.first, out[1] = p.second;
}
GK_DEVICE void uniforms(Key key, uint64_t counter, float (&out)[4]) {
  const Words w = philox(key.seed, key.offset + counter);
  out[0] = unit(w.x0), out[1] = unit(w.x1), out[2] = unit(w.x2), out[3] = unit(w.x3);
}
GK_DEVICE void uniforms(Key key, uint64_t counter, double (&out)[2]) {
  const Words w = philox(key.seed, key.offset + counter);
  out[0] = unit(w.x0, w.x1), out[1] = unit(w.x2, w.x3);
}

template <class T>
inline constexpr int kEach = sizeof(T) == 8 ? 2 : 4;  // values of a counter

// V values from element `index` of the stream on; make(counter, values of it).
template <class T, int V, class Make>
GK_DEVICE void stream(uint64_t index, T (&out)[V], const Make& make) {
  constexpr int each = kEach<T>;
  static_assert(V % each == 0);
  const uint64_t counter = index / each;
  const int shift = static_cast<int>(index % each);
  T block[each];
  if (shift == 0) {
    GK_UNROLL
    for (int c = 0; c < V / each; ++c) {
      make(counter + c, block);
      GK_UNROLL
      for (int k = 0; k < each; ++k) out[c * each + k] = block[k];
    }
    return;
  }
  // Groups that straddle counters: each value finds its place by selection, since an index that is not known would
  // leave the registers.
  GK_NO_UNROLL
  for (int c = 0; c <= V / each; ++c) {
    make(counter + c, block);
    const int from = c * each - shift;
    GK_UNROLL
    for (int k = 0; k < each; ++k) {
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
template <class T, class S, int V>
class Eps {
 public:
  GK_DEVICE Eps(const Noise& noise, const Extent& extent)
      : noise_(noise), numel_(extent.numel()), key_(noise.eps ? Key{} : block_key(noise.key)) {}

  GK_DEVICE void fetch(const Span<V>& s, int64_t sample) {
    if (noise_.eps) {
      load<S>(noise_.eps, sample * noise_.eps_sample, s, values_);
    } else {
      stream(noise_.element_offset + static_cast<uint64_t>(sample * numel_ + s.first), values_,
             [&](uint64_t counter, auto& block) { normals(key_, counter, block); });
    }
  }
  GK_DEVICE T operator[](int64_t i) const { return values_[i]; }

 private:
  const Noise& noise_;
  int64_t numel_;
  Key key_;
  T values_[V];
};

}  // namespace genkern::cuda
