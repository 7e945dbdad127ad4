// The Gaussian family on the GPU: so far the head's forward pass, gaussian_rsample_kl.
#include "cuda/gaussian.h"

#include "cuda/engine.cuh"
#include "math/gaussian.h"
#include "math/normal.h"

namespace genkern::cuda {
namespace {

// The normals of the counter that holds element `index` of the key's noise.
__device__ void normals(Key key, uint64_t index, float (&out)[4]) {
  const Words w = philox(key.seed, key.offset + index / 4);
  const Pair<float> p = box_muller(open_unit(static_cast<float>(w.x0)), open_unit(static_cast<float>(w.x1)));
  const Pair<float> q = box_muller(open_unit(static_cast<float>(w.x2)), open_unit(static_cast<float>(w.x3)));
  out[0] = p.first, out[1] = p.second, out[2] = q.first, out[3] = q.second;
}

__device__ void normals(Key key, uint64_t index, double (&out)[2]) {
  const Words w = philox(key.seed, key.offset + index / 2);
  const Pair<double> p = box_muller(open_unit(w.x0, w.x1), open_unit(w.x2, w.x3));
  out[0] = p.first, out[1] = p.second;
}

// eps element by element: a counter is computed once for the elements of it that follow one another.
template <class T>
class Eps {
 public:
  __device__ explicit Eps(const Noise& noise) : noise_(noise) {}

  __device__ T operator()(uint64_t index) {
    index += noise_.element_offset;
    if (index / kEach != counter_) {
      counter_ = index / kEach;
      normals(noise_.key, index, block_);
    }
    T value = block_[0];
#pragma unroll
    for (int k = 1; k < kEach; ++k)
      value = index % kEach == k ? block_[k] : value;  // a run-time index would leave the registers
    return value;
  }

 private:
  static constexpr int kEach = sizeof(T) == 8 ? 2 : 4;
  const Noise& noise_;
  uint64_t counter_ = ~uint64_t{0};
  T block_[kEach] = {};
};

template <class T>
__global__ void __launch_bounds__(kThreads, 2) head_forward(const GaussianHeadForward a, Total total) {
  const ScaleMap<T> map(a.scale_options);
  const T temperature = static_cast<T>(a.temperature), floor = static_cast<T>(a.free_nats);
  Eps<T> made(a.noise);
  reduce<T>(a.extent, a.kl, total, [&](int64_t row, uint32_t column, const Place& place) {
    const T loc = load<T>(a.loc, place.in(a.loc));
    const Scale<T> q = map(load<T>(a.scale, place.in(a.scale)));
    for (int64_t sample = 0; sample < a.samples; ++sample) {
      const T eps = a.noise.eps ? load<T>(a.noise.eps, sample * a.noise.eps_sample + place.in(a.noise.eps))
                                : made(sample * a.extent.numel() + row * a.extent.event() + column);
      store(a.z, sample * a.z_sample + place.in(a.z), gaussian_sample(loc, q.sigma, temperature, eps));
    }
    const T delta = a.prior_loc ? loc - load<T>(a.prior_loc, place.in(a.prior_loc)) : loc;
    const auto kl = a.prior_scale ? divergence(map, q, delta, map(load<T>(a.prior_scale, place.in(a.prior_scale))))
                                  : divergence(q, delta);
    return max(floor, kl.value);
  });
}

}  // namespace

cudaError_t gaussian_head_forward(const GaussianHeadForward& a, double* parts, unsigned* ticket, cudaStream_t stream) {
  if (a.extent.numel() == 0) return cudaSuccess;
  if (a.extent.event() > INT32_MAX) return cudaErrorInvalidValue;
  const auto kernel = a.wide ? head_forward<double> : head_forward<float>;
  kernel<<<blocks(a.extent), kThreads, 0, stream>>>(a, Total{parts, ticket});
  return cudaGetLastError();
}

}  // namespace genkern::cuda
