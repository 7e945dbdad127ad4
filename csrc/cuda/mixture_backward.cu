// Gradients of the densities of mixtures on a GPU. The posterior weights of a tile are made anew, once for the points
// and once for the components, each summed by the block that owns it.
#include "cuda/mixture.cuh"
namespace genkern::cuda {
namespace {

template <class T>
struct Gradients {
  const T *joint, *marginal, *grad_joint, *grad_marginal;
  T *d_z, *d_loc, *d_log_scale, *d_weights;  // [parts, ...] each; d_weights of a point's own mixture: [B, C]

  // The gradient of a pair by its log density in one dimension, as part of the marginals.
  GK_DEVICE T by_marginal(const Mixture<T>& m, int64_t b, int64_t c, int64_t d, T log_density) const {
    const int64_t i = b * m.a.dims + d;
    return exp_below(log_density + m.log_weight(b, c) - value_for_shares(marginal[i])) * grad_marginal[i];
  }
};

// A tile's gradients by the joint log densities of its pairs, in shared memory.
template <class T>
using Posterior = T[kTile][kTile + 1];

template <class T>
GK_DEVICE void posterior_tile(const Mixture<T>& m, const Gradients<T>& g, int64_t point, int64_t component,
                              Posterior<T>& posterior) {
  T logits[kOwn][kOwn];
  const Place at;
  __syncthreads();  // the last tile may still be read
  if (g.grad_joint) joint_tile(m, point, component, logits);
  GK_UNROLL
  for (int i = 0; i < kOwn; ++i) GK_UNROLL
  for (int j = 0; j < kOwn; ++j) {
    const int64_t b = point + at.y + i * kSide;
    T value = T(0);
    if (g.grad_joint && b < m.a.points) value = tail_exp(logits[i][j] - value_for_shares(g.joint[b])) * g.grad_joint[b];
    posterior[at.y + i * kSide][at.x + j * kSide] = value;
  }
  __syncthreads();
}

// The gradient by z: a block owns points.
template <class T, bool kMarginals>
__global__ void __launch_bounds__(kThreads, 1)
    points_kernel(const __grid_constant__ Mixture<T> m, const __grid_constant__ Gradients<T> g, int64_t items,
                  int64_t parts) {
  __shared__ Posterior<T> posterior;
  const GaussianMixture& a = m.a;
  const Place at;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Work work(item, parts, a.components);
    const int64_t point = work.tile * kTile;
    for (int64_t tile = work.first; tile < work.last; ++tile) {
      const int64_t component = tile * kTile;
      posterior_tile(m, g, point, component, posterior);
      for (int64_t d = at.x; d < a.dims; d += kSide) {
        T z[kOwn], sum[kOwn] = {};
        GK_UNROLL
        for (int i = 0; i < kOwn; ++i) {
          const int64_t b = point + at.y + i * kSide;
          z[i] = b < a.points ? m.z(b, d) : T(0);
        }
        for (int j = 0; j < within(component, a.components); ++j) {
          const Component<T> c = m.at(component + j, d);
          GK_UNROLL
          for (int i = 0; i < kOwn; ++i) {
            const int64_t b = point + at.y + i * kSide;
            T weight = posterior[at.y + i * kSide][j];
            if (kMarginals && b < a.points) weight += g.by_marginal(m, b, component + j, d, log_density(c, z[i]));
            sum[i] -= gradient(c, z[i], weight).loc;
          }
        }
        GK_UNROLL
        for (int i = 0; i < kOwn; ++i) {
          const int64_t b = point + at.y + i * kSide;
          if (b < a.points) put(g.d_z + (work.part * a.points + b) * a.dims + d, tile == work.first, sum[i]);
        }
      }
    }
  }
}

// The gradients by loc and log sigma: a block owns components.
template <class T, bool kMarginals>
__global__ void __launch_bounds__(kThreads, 1)
    components_backward_kernel(const __grid_constant__ Mixture<T> m, const __grid_constant__ Gradients<T> g,
                               int64_t items, int64_t parts) {
  __shared__ Posterior<T> posterior;
  const GaussianMixture& a = m.a;
  const Place at;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Work work(item, parts, a.points);
    const int64_t component = work.tile * kTile;
    for (int64_t tile = work.first; tile < work.last; ++tile) {
      const int64_t point = tile * kTile;
      posterior_tile(m, g, point, component, posterior);
      for (int64_t d = at.x; d < a.dims; d += kSide) {
        Component<T> own[kOwn];
        T loc[kOwn] = {}, log_scale[kOwn] = {};
        GK_UNROLL
        for (int i = 0; i < kOwn; ++i) {
          const int64_t c = component + at.y + i * kSide;
          own[i] = c < a.components ? m.at(c, d) : Component<T>{};
        }
        for (int j = 0; j < within(point, a.points); ++j) {
          const T z = m.z(point + j, d);
          GK_UNROLL
          for (int i = 0; i < kOwn; ++i) {
            const int64_t c = component + at.y + i * kSide;
            T weight = posterior[j][at.y + i * kSide];
            if (kMarginals && c < a.components) weight += g.by_marginal(m, point + j, c, d, log_density(own[i], z));
            const ComponentGradient<T> by = gradient(own[i], z, weight);
            loc[i] += by.loc;
            log_scale[i] += by.log_scale;
          }
        }
        GK_UNROLL
        for (int i = 0; i < kOwn; ++i) {
          const int64_t c = component + at.y + i * kSide, to = (work.part * a.components + c) * a.dims + d;
          if (c >= a.components) continue;
          put(g.d_loc + to, tile == work.first, loc[i]);
          put(g.d_log_scale + to, tile == work.first, log_scale[i]);
        }
      }
    }
  }
}

// The gradient by log weights: a block owns components; each thread has one of them and a quarter of a tile's points.
template <class T, bool kMarginals>
__global__ void __launch_bounds__(kThreads, 1)
    weights_kernel(const __grid_constant__ Mixture<T> m, const __grid_constant__ Gradients<T> g, int64_t items,
                   int64_t parts) {
  __shared__ Posterior<T> posterior;
  __shared__ T sums[kThreads];
  const GaussianMixture& a = m.a;
  const int j = static_cast<int>(threadIdx.x) % kTile, quarter = static_cast<int>(threadIdx.x) / kTile;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Work work(item, parts, a.points);
    const int64_t c = work.tile * kTile + j;
    T sum = T(0);
    for (int64_t tile = work.first; tile < work.last; ++tile) {
      const int64_t point = tile * kTile;
      posterior_tile(m, g, point, work.tile * kTile, posterior);
      if (c >= a.components) continue;
      for (int i = quarter; i < within(point, a.points); i += kThreads / kTile) {
        T value = posterior[i][j];
        if (kMarginals)
          for (int64_t d = 0; d < a.dims; ++d) {
            const Component<T> own = m.at(c, d);
            value += g.by_marginal(m, point + i, c, d, log_density(own, m.z(point + i, d)));
          }
        if (a.log_weights_row) g.d_weights[(point + i) * a.components + c] = value;
        sum += value;
      }
    }
    __syncthreads();
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (quarter == 0 && c < a.components && !a.log_weights_row)
      g.d_weights[work.part * a.components + c] = sums[j] + sums[j + kTile] + sums[j + 2 * kTile] + sums[j + 3 * kTile];
    __syncthreads();
  }
}

template <class T>
struct Backward {
  const GaussianMixtureBackward& a;
  Memory<T> memory;
  Mixture<T> mixture;
  int64_t component_parts, point_parts;
  Gradients<T> g;

  Backward(const GaussianMixtureBackward& a, double* workspace)
      : a(a),
        memory{reinterpret_cast<T*>(workspace)},
        mixture(a, memory),
        component_parts(parts_of(a.points, a.components)),
        point_parts(parts_of(a.components, a.points)),
        g{static_cast<const T*>(a.joint),
          static_cast<const T*>(a.marginal),
          static_cast<const T*>(a.grad_joint),
          static_cast<const T*>(a.grad_marginal),
          target(a.d_z, component_parts, a.points * a.dims),
          target(a.d_loc, point_parts, a.components * a.dims, a.d_log_scale),
          target(a.d_log_scale, point_parts, a.components * a.dims, a.d_loc),
          a.log_weights_row ? static_cast<T*>(a.d_log_weights) : target(a.d_log_weights, point_parts, a.components)} {}

  // The result itself, or memory for the parts of it; also for one that only its twin asks for.
  T* target(void* result, int64_t parts, int64_t n, void* twin = nullptr) {
    if (!result && !twin) return nullptr;
    return result && parts == 1 ? static_cast<T*>(result) : memory.take(parts * n);
  }

  Status run(const Launch& launch) {
    if (const Status s = start(threads_for(a.components), launch, components_kernel<T>, mixture)) return s;
    return a.grad_marginal ? kernels<true>(launch) : kernels<false>(launch);
  }

  template <bool kMarginals>
  Status kernels(const Launch& launch) {
    const int64_t by_points = divide_up(a.points, kTile) * component_parts;
    const int64_t by_components = divide_up(a.components, kTile) * point_parts;
    if (a.d_z)
      if (const Status s = start(blocks_for(by_points), launch, points_kernel<T, kMarginals>, mixture, g, by_points,
                                 component_parts))
        return s;
    if (a.d_loc || a.d_log_scale)
      if (const Status s = start(blocks_for(by_components), launch, components_backward_kernel<T, kMarginals>, mixture,
                                 g, by_components, point_parts))
        return s;
    if (a.d_log_weights)
      if (const Status s = start(blocks_for(by_components), launch, weights_kernel<T, kMarginals>, mixture, g,
                                 by_components, point_parts))
        return s;
    if (const Status s = add_parts(launch, a.d_z, g.d_z, a.points * a.dims, component_parts)) return s;
    if (const Status s = add_parts(launch, a.d_loc, g.d_loc, a.components * a.dims, point_parts)) return s;
    if (const Status s = add_parts(launch, a.d_log_scale, g.d_log_scale, a.components * a.dims, point_parts)) return s;
    return a.log_weights_row ? nullptr : add_parts(launch, a.d_log_weights, g.d_weights, a.components, point_parts);
  }
};

}  // namespace

int64_t gaussian_mixture_backward_workspace(const GaussianMixtureBackward& a) {
  return a.wide ? Backward<double>(a, nullptr).memory.doubles() : Backward<float>(a, nullptr).memory.doubles();
}

Status gaussian_mixture_backward(const GaussianMixtureBackward& a, const Launch& launch) {
  return a.wide ? Backward<double>(a, launch.workspace).run(launch) : Backward<float>(a, launch.workspace).run(launch);
}

}  // namespace genkern::cuda
