// Densities of mixtures on a GPU: what forward and backward share. Tiles of points meet tiles of components.
//
// The joint density is made like a product of matrices: tiles of 64 points and 64 components, a few dimensions of them
// in shared memory, 4 x 4 pairs a thread, and no exponential but one a pair. Where the tiles of those that own a sum
// are few, the others are cut into parts, which a last launch adds in order.
#pragma once

#include <cmath>
#include <limits>

#include "cuda/pairs.cuh"
#include "math/mixture.h"

namespace genkern::cuda {

// Relative to a maximum, for the marginal densities, which take one a pair and dimension: what the fast exponential is
// off by is an ulp or two of a term below 1. The joint density, with one a pair, has the accurate one.
GK_DEVICE float exp_below(float x) { return exp2f(x * 1.44269504088896340736f); }
GK_DEVICE double exp_below(double x) { return exp(x); }

// What the kernels read: the arguments, and what depends on a component alone.
template <class T>
struct Mixture {
  GaussianMixture a;
  T uniform;                    // log weight
  T *rate, *bias, *whole_bias;  // [C, D], [C, D], and [C]: the sum over dimensions

  Mixture(const GaussianMixture& a, Memory<T>& memory)
      : a(a),
        uniform(static_cast<T>(-std::log(static_cast<double>(a.components)))),
        rate(memory.take(a.components * a.dims)),
        bias(memory.take(a.components * a.dims)),
        whole_bias(memory.take(a.components)) {}

  GK_DEVICE T z(int64_t b, int64_t d) const { return static_cast<const T*>(a.z)[b * a.dims + d]; }
  GK_DEVICE Component<T> at(int64_t c, int64_t d) const {
    const int64_t i = c * a.dims + d;
    return {static_cast<const T*>(a.loc)[i], rate[i], bias[i]};
  }
  GK_DEVICE T log_weight(int64_t b, int64_t c) const {
    if (!a.log_weights) return uniform;
    return static_cast<const T*>(a.log_weights)[b * a.log_weights_row + c];
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads, 1) components_kernel(const __grid_constant__ Mixture<T> m) {
  const GaussianMixture& a = m.a;
  for (int64_t c = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; c < a.components;
       c += static_cast<int64_t>(gridDim.x) * kThreads) {
    T whole = T(0);
    for (int64_t d = 0; d < a.dims; ++d) {
      const T log_scale = static_cast<const T*>(a.log_scale)[c * a.log_scale_row + d * a.log_scale_elem];
      const Component<T> made = component(T(0), log_scale);
      m.rate[c * a.dims + d] = made.rate;
      m.bias[c * a.dims + d] = made.bias;
      whole += made.bias;
    }
    m.whole_bias[c] = whole;
  }
}

// log (w_c N(z_b; c)) of a tile's pairs; -inf beyond the last component.
template <class T>
GK_DEVICE void joint_tile(const Mixture<T>& m, int64_t point, int64_t component, T (&logits)[kOwn][kOwn]) {
  constexpr int depth = kDepth<T>;
  __shared__ T zs[depth][kTile], locs[depth][kTile], rates[depth][kTile];
  const GaussianMixture& a = m.a;
  const Place at;
  GK_UNROLL
  for (int i = 0; i < kOwn; ++i) GK_UNROLL
  for (int j = 0; j < kOwn; ++j) logits[i][j] = T(0);
  for (int64_t d0 = 0; d0 < a.dims; d0 += depth) {
    __syncthreads();
    for (int k = static_cast<int>(threadIdx.x); k < depth * kTile; k += kThreads) {
      const int d = k % depth, n = k / depth;
      const bool there = d0 + d < a.dims;
      const int64_t b = point + n, c = component + n;
      zs[d][n] = there && b < a.points ? m.z(b, d0 + d) : T(0);
      const bool has = there && c < a.components;
      locs[d][n] = has ? static_cast<const T*>(a.loc)[c * a.dims + d0 + d] : T(0);
      rates[d][n] = has ? m.rate[c * a.dims + d0 + d] : T(0);
    }
    __syncthreads();
    for (int d = 0; d < depth; ++d) {
      T z[kOwn], loc[kOwn], rate[kOwn];
      GK_UNROLL
      for (int i = 0; i < kOwn; ++i) {
        z[i] = zs[d][at.y + i * kSide];
        loc[i] = locs[d][at.x + i * kSide];
        rate[i] = rates[d][at.x + i * kSide];
      }
      GK_UNROLL
      for (int i = 0; i < kOwn; ++i) GK_UNROLL
      for (int j = 0; j < kOwn; ++j) {
        const T u = (z[i] - loc[j]) * rate[j];
        logits[i][j] = fma(-u, u, logits[i][j]);
      }
    }
  }
  GK_UNROLL
  for (int i = 0; i < kOwn; ++i) GK_UNROLL
  for (int j = 0; j < kOwn; ++j) {
    const int64_t b = point + at.y + i * kSide, c = component + at.x + j * kSide;
    const bool there = b < a.points && c < a.components;
    logits[i][j] = there ? logits[i][j] + (m.whole_bias[c] + m.log_weight(b, c)) : -std::numeric_limits<T>::infinity();
  }
}

}  // namespace genkern::cuda
