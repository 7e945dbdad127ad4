// Densities of mixtures on a GPU. The marginal densities take one exponential a pair and dimension, which is what
// bounds them: a thread has one dimension of 4 points and streams components.
#include "cuda/mixture.cuh"
namespace genkern::cuda {
namespace {

// A sum of exponentials relative to the greatest exponent so far.
template <class T>
struct Streamed {
  T top = std::numeric_limits<T>::lowest(), sum = T(0);

  template <class Exp>
  GK_DEVICE void add(T exponent, const Exp& below) {
    const bool greater = exponent > top;
    const T e = below(greater ? top - exponent : exponent - top);
    sum = greater ? fma(sum, e, T(1)) : sum + e;
    top = greater ? exponent : top;
  }
  GK_DEVICE void add(const Streamed& s) {
    const T greater = s.top > top ? s.top : top;
    sum = sum * tail_exp(top - greater) + s.sum * tail_exp(s.top - greater);
    top = greater;
  }
  GK_DEVICE T value() const { return top + (log(sum) + (top - top)); }  // of an infinite density nan
  GK_DEVICE T total() const { return total_of_shares(sum, sum * exp(top - value())); }
};

// Where sums go: to the result, or, of one part of several, to [parts, n] of them.
template <class T>
struct Sums {
  T *result, *total;
  Streamed<T>* partial;
  int64_t n;
  GK_DEVICE void put(int64_t i, const Streamed<T>& s) const {
    result[i] = s.value();
    total[i] = s.total();
  }
  GK_DEVICE void put(int64_t part, int64_t i, const Streamed<T>& s) const {
    if (partial) {
      partial[part * n + i] = s;
    } else {
      put(i, s);
    }
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    joint_kernel(const __grid_constant__ Mixture<T> m, const __grid_constant__ Sums<T> sums, int64_t items,
                 int64_t parts) {
  const Place at;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Work work(item, parts, m.a.components);
    Streamed<T> streamed[kOwn];
    for (int64_t tile = work.first; tile < work.last; ++tile) {
      T logits[kOwn][kOwn];
      joint_tile(m, work.tile * kTile, tile * kTile, logits);
      GK_UNROLL
      for (int i = 0; i < kOwn; ++i) GK_UNROLL
      for (int j = 0; j < kOwn; ++j) streamed[i].add(logits[i][j], [](T x) { return tail_exp(x); });
    }
    GK_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      for (int step = kSide / 2; step > 0; step /= 2) {
        Streamed<T> other;
        other.top = __shfl_xor_sync(kAllLanes, streamed[i].top, step);
        other.sum = __shfl_xor_sync(kAllLanes, streamed[i].sum, step);
        streamed[i].add(other);
      }
      const int64_t b = work.tile * kTile + at.y + i * kSide;
      if (at.x == 0 && b < m.a.points) sums.put(work.part, b, streamed[i]);
    }
  }
}

constexpr int kPoints = 4;  // whose dimension a thread has in the marginal densities

template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    marginal_kernel(const __grid_constant__ Mixture<T> m, const __grid_constant__ Sums<T> sums, int64_t items,
                    int64_t parts) {
  const GaussianMixture& a = m.a;
  for (int64_t item = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; item < items;
       item += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int64_t d = item % a.dims, part = item / a.dims % parts, first = item / a.dims / parts * kPoints;
    const int64_t each = (a.components + parts - 1) / parts, from = part * each;
    const int64_t to = from + each < a.components ? from + each : a.components;
    Streamed<T> streamed[kPoints];
    T z[kPoints];
    GK_UNROLL
    for (int i = 0; i < kPoints; ++i) z[i] = first + i < a.points ? m.z(first + i, d) : T(0);
    for (int64_t c = from; c < to; ++c) {
      const Component<T> component = m.at(c, d);
      GK_UNROLL
      for (int i = 0; i < kPoints; ++i) {
        const int64_t b = first + i < a.points ? first + i : first;
        const T exponent = log_density(component, z[i]) + m.log_weight(b, c);
        streamed[i].add(exponent, [](T x) { return exp_below(x); });
      }
    }
    GK_UNROLL
    for (int i = 0; i < kPoints; ++i)
      if (first + i < a.points) sums.put(part, (first + i) * a.dims + d, streamed[i]);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1) merge_kernel(const __grid_constant__ Sums<T> sums, int64_t parts) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < sums.n;
       i += static_cast<int64_t>(gridDim.x) * kThreads) {
    Streamed<T> whole = sums.partial[i];
    for (int64_t part = 1; part < parts; ++part) whole.add(sums.partial[part * sums.n + i]);
    sums.put(i, whole);
  }
}

int64_t marginal_parts(const GaussianMixture& a) {
  const int64_t wanted = divide_up(kEnoughBlocks * kThreads, divide_up(a.points, kPoints) * a.dims);
  const int64_t most = divide_up(a.components, kTile), parts = wanted < most ? wanted : most;
  return divide_up(a.components, divide_up(a.components, parts));
}

template <class T>
struct Forward {
  Memory<T> memory;
  Mixture<T> mixture;
  int64_t joint_parts, marginal_parts;
  Sums<T> joint, marginal;

  Forward(const GaussianMixtureForward& a, double* workspace)
      : memory{reinterpret_cast<T*>(workspace)},
        mixture(a, memory),
        joint_parts(parts_of(a.points, a.components)),
        marginal_parts(a.marginals && a.dims ? cuda::marginal_parts(a) : 0),
        joint{static_cast<T*>(a.joint), static_cast<T*>(a.joint_total), partial(joint_parts, a.points), a.points},
        marginal{static_cast<T*>(a.marginal), static_cast<T*>(a.marginal_total),
                 partial(marginal_parts, a.points * a.dims), a.points * a.dims} {}

  Streamed<T>* partial(int64_t parts, int64_t n) {
    return parts > 1 ? reinterpret_cast<Streamed<T>*>(memory.take(2 * parts * n)) : nullptr;
  }

  Status run(const Launch& launch) {
    const GaussianMixture& a = mixture.a;
    if (const Status s = start(threads_for(a.components), launch, components_kernel<T>, mixture)) return s;
    const int64_t items = divide_up(a.points, kTile) * joint_parts;
    if (const Status s = start(blocks_for(items), launch, joint_kernel<T>, mixture, joint, items, joint_parts))
      return s;
    if (joint_parts > 1)
      if (const Status s = start(threads_for(joint.n), launch, merge_kernel<T>, joint, joint_parts)) return s;
    if (marginal_parts == 0) return nullptr;
    const int64_t threads = divide_up(a.points, kPoints) * a.dims * marginal_parts;
    if (const Status s =
            start(threads_for(threads), launch, marginal_kernel<T>, mixture, marginal, threads, marginal_parts))
      return s;
    if (marginal_parts == 1) return nullptr;
    return start(threads_for(marginal.n), launch, merge_kernel<T>, marginal, marginal_parts);
  }
};

}  // namespace

int64_t gaussian_mixture_forward_workspace(const GaussianMixtureForward& a) {
  return a.wide ? Forward<double>(a, nullptr).memory.doubles() : Forward<float>(a, nullptr).memory.doubles();
}

Status gaussian_mixture_forward(const GaussianMixtureForward& a, const Launch& launch) {
  return a.wide ? Forward<double>(a, launch.workspace).run(launch) : Forward<float>(a, launch.workspace).run(launch);
}

}  // namespace genkern::cuda
