// Mixtures on the CPU: tiles of points against tiles of components, with sums over components that are streamed.
//
// Lanes are components, so nothing is summed across lanes before the end, and any number of dimensions fills the
// vectors. A lane keeps the maximum of what it has seen and the sum of exponentials relative to it; a block of kBlock
// vectors is compared first, so that its maximum costs one exponential for all of them. Work is cut by shapes alone and
// its parts are added in order: the same bits for every number of threads.
#pragma once

#include <limits>
#include <memory>

#include "cpu/launch.h"
#include "math/mixture.h"

namespace genkern::GENKERN_ISA {

template <class T>
struct MixtureLoops {
  using F = Vec<T>;
  static constexpr int lanes = F::lanes;
  static constexpr int kBlock = 4;                    // vectors of components that are compared at a time
  static constexpr int64_t kStride = kBlock * lanes;  // their components
  static constexpr int64_t kRows = 8;                 // points that share a block while it is in the cache
  static constexpr int64_t kSplits = 6;               // parts of the points and of the components in backward
  static constexpr T kLowest = std::numeric_limits<T>::lowest(), kNone = -std::numeric_limits<T>::infinity();

  // The sum of exponentials, streamed: log sum = max + log sum.
  struct Streamed {
    T* max;
    T* sum;
    GK_INLINE void add(int64_t i, const F (&terms)[kBlock]) const {
      const F before = F::load(max + i * lanes);
      F top = before;
      for (const F& t : terms) top = genkern::GENKERN_ISA::max(t, top);
      F total = F::load(sum + i * lanes) * tail_exp(before - top);
      for (const F& t : terms) total = total + tail_exp(t - top);
      top.store(max + i * lanes);
      total.store(sum + i * lanes);
    }
  };

  // Components by blocks, and within one by dimension: loc, rate and bias side by side. What is beyond the last
  // component is that component once more, without weight: no point is farther from it than from one that counts.
  struct Components {
    const GaussianMixture& a;
    int64_t padded;
    T *values, *biases, *weights;

    static int64_t round_up(int64_t n) { return (n + kStride - 1) / kStride * kStride; }
    static int64_t size(const GaussianMixture& a) { return (3 * a.dims + 2) * round_up(a.components); }

    Components(const GaussianMixture& a, T* memory)
        : a(a),
          padded(round_up(a.components)),
          values(memory),
          biases(values + 3 * a.dims * padded),
          weights(biases + padded) {}

    void fill(const Parallel& parallel) const {
      const T uniform = static_cast<T>(-::log(static_cast<double>(a.components)));
      run(parallel, padded / kStride, kStride * a.dims, [&](int64_t begin, int64_t end) {
        for (int64_t c = begin * kStride; c < end * kStride; ++c) {
          const int64_t from = least(c, a.components - 1);
          const auto *w = static_cast<const T*>(a.log_weights), *log_scale = static_cast<const T*>(a.log_scale);
          weights[c] = from < c ? kNone : w && a.log_weights_row == 0 ? w[c] : uniform;
          T* to = values + c / kStride * kStride * 3 * a.dims + c % kStride;
          for (int64_t d = 0; d < a.dims; ++d, to += 3 * kStride) {
            const Component<T> made = component(static_cast<const T*>(a.loc)[from * a.dims + d],
                                                log_scale[from * a.log_scale_row + d * a.log_scale_elem]);
            to[0] = made.loc, to[kStride] = made.rate, to[2 * kStride] = made.bias;
          }
        }
        for (int64_t c = begin * kStride; c < end * kStride; c += kStride)
          for (int k = 0; k < kBlock; ++k) {
            F whole(T(0));
            for (int64_t d = 0; d < a.dims; ++d) whole = whole + at(d, c, k).bias;
            whole.store(biases + c + k * lanes);
          }
      });
    }

    // The block that begins with component c: dimension d, vector k.
    GK_INLINE Component<F> at(int64_t d, int64_t c, int k) const {
      const T* from = values + (c * a.dims + d * kStride) * 3 + k * lanes;
      return {F::load(from), F::load(from + kStride), F::load(from + 2 * kStride)};
    }
    GK_INLINE F whole_bias(int64_t c, int k) const { return F::load(biases + c + k * lanes); }

    // The block's log weights for a point; of a mixture of its own they are in rows that end with the last component.
    GK_INLINE void weights_of(int64_t point, int64_t c, F (&w)[kBlock]) const {
      const T* from = weights + c;
      T own[kStride];
      if (a.log_weights_row != 0) {
        const T* row = static_cast<const T*>(a.log_weights) + point * a.log_weights_row + c;
        for (int64_t i = 0; i < kStride; ++i) own[i] = c + i < a.components ? row[i] : kNone;
        from = own;
      }
      for (int k = 0; k < kBlock; ++k) w[k] = F::load(from + k * lanes);
    }
  };

  // As many elements as pairs of points and components take as long as: with marginals an exponential a dimension.
  static int64_t as_elements(const GaussianMixture& a, int64_t pairs, bool marginals) {
    return pairs * a.dims / (marginals ? 1 : kPairs);
  }

  // ---- forward ----

  // Parts of the components, where the points alone do not occupy the threads.
  static int64_t parts(const GaussianMixture& a) {
    if (a.points >= 64) return 1;
    const int64_t wanted = least(64 / (a.points + 1) + 1, a.components / 4096);
    return wanted < 1 ? 1 : wanted;
  }
  static int64_t sums(const GaussianMixture& a) { return a.marginals ? a.dims + 1 : 1; }  // of a point

  static int64_t forward_size(const GaussianMixture& a) {
    return Components::size(a) + (parts(a) > 1 ? parts(a) * a.points * sums(a) * 2 : 0);
  }

  static void forward(const GaussianMixtureForward& a, const Launch& launch) {
    const Components components(a, reinterpret_cast<T*>(launch.workspace));
    components.fill(launch.parallel);
    T* partial = reinterpret_cast<T*>(launch.workspace) + Components::size(a);
    const int64_t groups = (a.points + kRows - 1) / kRows, split = parts(a), n = sums(a);
    const int64_t part = Components::round_up((components.padded + split - 1) / split);
    run(launch.parallel, groups * split, as_elements(a, kRows * part, a.marginals), [&](int64_t begin, int64_t end) {
      const FlushToZero<T> tails;
      const auto state = std::make_unique<T[]>(kRows * n * lanes * 2);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t first = task / split * kRows, rows = least(kRows, a.points - first), from = task % split * part;
        const auto of = [&](int64_t r) {
          T* max = state.get() + r * n * lanes * 2;
          return Streamed{max, max + n * lanes};
        };
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t i = 0; i < n * lanes; ++i) of(r).max[i] = kLowest, of(r).sum[i] = T(0);
        for (int64_t c = from; c < least(from + part, components.padded); c += kStride)
          for (int64_t r = 0; r < rows; ++r) {
            const T* z = static_cast<const T*>(a.z) + (first + r) * a.dims;
            a.marginals ? block<true>(components, first + r, c, z, of(r))
                        : block<false>(components, first + r, c, z, of(r));
          }
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t i = 0; i < n; ++i) {
            T max, sum;
            merge_lanes(of(r).max + i * lanes, of(r).sum + i * lanes, max, sum);
            if (split == 1) {
              put(a, first + r, i, max, sum);
            } else {
              T* to = partial + (((first + r) * n + i) * split + task % split) * 2;
              to[0] = max, to[1] = sum;
            }
          }
      }
    });
    if (split == 1) return;
    for (int64_t point = 0; point < a.points; ++point)
      for (int64_t i = 0; i < n; ++i) {
        T max, sum;
        const T* from = partial + (point * n + i) * split * 2;
        merge(from, from + 1, 2, split, max, sum);
        put(a, point, i, max, sum);
      }
  }

  // One block of components at one point; place 0 is the joint density, 1 + d that of a dimension.
  template <bool kMarginals>
  static GK_INLINE void block(const Components& components, int64_t point, int64_t c, const T* z, const Streamed& s) {
    F joint[kBlock], weights[kBlock];
    components.weights_of(point, c, weights);
    for (int k = 0; k < kBlock; ++k) joint[k] = F(T(0));
    for (int64_t d = 0; d < components.a.dims; ++d) {
      F terms[kBlock];
      for (int k = 0; k < kBlock; ++k) {
        const Component<F> m = components.at(d, c, k);
        const F u = standardised(m, F(z[d]));
        joint[k] = fma(-u, u, joint[k]);
        if (kMarginals) terms[k] = fma(-u, u, m.bias) + weights[k];
      }
      if (kMarginals) s.add(1 + d, terms);
    }
    for (int k = 0; k < kBlock; ++k) joint[k] = joint[k] + (components.whole_bias(c, k) + weights[k]);
    s.add(0, joint);
  }

  static GK_INLINE void merge_lanes(const T* maxima, const T* sums, T& max, T& sum) {
    const F of_lanes = F::load(maxima);
    max = kLowest;
    for (int i = 0; i < lanes; ++i) max = maxima[i] > max ? maxima[i] : max;
    sum = genkern::GENKERN_ISA::sum(F::load(sums) * tail_exp(of_lanes - F(max)));
  }
  static void merge(const T* maxima, const T* sums, int64_t stride, int64_t n, T& max, T& sum) {
    max = kLowest, sum = T(0);
    for (int64_t i = 0; i < n; ++i) max = maxima[i * stride] > max ? maxima[i * stride] : max;
    for (int64_t i = 0; i < n; ++i) sum += sums[i * stride] * ::exp(maxima[i * stride] - max);
  }
  static void put(const GaussianMixtureForward& a, int64_t point, int64_t i, T max, T sum) {
    const T value = max + ::log(sum), total = total_of_shares(sum, sum * ::exp(max - value));
    const int64_t place = i == 0 ? point : point * a.dims + i - 1;
    static_cast<T*>(i == 0 ? a.joint : a.marginal)[place] = value;
    static_cast<T*>(i == 0 ? a.joint_total : a.marginal_total)[place] = total;
  }

  // ---- backward ----

  // A part of the points and one of the components are a task, which adds up what both receive from it.
  struct Parts {
    int64_t points, components;  // how many
    int64_t points_each, components_each;

    explicit Parts(const GaussianMixture& a) {
      const int64_t groups = (a.points + kRows - 1) / kRows, padded = Components::round_up(a.components);
      points = groups < 1 ? 1 : least(kSplits, groups);
      points_each = (groups + points - 1) / points * kRows;
      components = least(kSplits, padded / kStride);
      components_each = Components::round_up((padded + components - 1) / components);
    }
  };

  static int64_t backward_size(const GaussianMixture& a) {
    const Parts parts(a);
    return Components::size(a) + parts.components * a.points * a.dims + parts.points * Received::size(a);
  }

  // What a part of the points gives to the components, in blocks as they are: loc and log scale side by side.
  struct Received {
    T *values, *weights;
    Received(T* memory, const Components& c) : values(memory), weights(values + 2 * c.a.dims * c.padded) {}
    static int64_t size(const GaussianMixture& a) { return (2 * a.dims + 1) * Components::round_up(a.components); }
    static int64_t place(const GaussianMixture& a, int64_t d, int64_t c) {
      return (c / kStride * a.dims + d) * 2 * kStride + c % kStride;
    }
    static GK_INLINE void add(T* to, F value) { (F::load(to) + value).store(to); }
  };

  static void backward(const GaussianMixtureBackward& a, const Launch& launch) {
    const Components components(a, reinterpret_cast<T*>(launch.workspace));
    components.fill(launch.parallel);
    const Parts parts(a);
    T* by_point = reinterpret_cast<T*>(launch.workspace) + Components::size(a);
    T* by_component = by_point + parts.components * a.points * a.dims;
    const int64_t each = 2 * as_elements(a, parts.points_each * parts.components_each, a.grad_marginal != nullptr);
    run(launch.parallel, parts.points * parts.components, each, [&](int64_t begin, int64_t end) {
      const FlushToZero<T> tails;
      const auto d_z = std::make_unique<T[]>(kRows * a.dims * lanes);
      for (int64_t task = begin; task < end; ++task) {
        const int64_t p = task / parts.components, k = task % parts.components;
        const int64_t from = k * parts.components_each, to = least(from + parts.components_each, components.padded);
        const int64_t last = least((p + 1) * parts.points_each, a.points);
        const Received own(by_component + p * Received::size(a), components);
        for (int64_t i = from * 2 * a.dims; i < to * 2 * a.dims; ++i) own.values[i] = T(0);
        for (int64_t c = from; c < to; ++c) own.weights[c] = T(0);
        for (int64_t first = p * parts.points_each; first < last; first += kRows) {
          const int64_t rows = least(kRows, last - first);
          for (int64_t i = 0; i < rows * a.dims * lanes; ++i) d_z[i] = T(0);
          for (int64_t c = from; c < to; c += kStride)
            for (int64_t r = 0; r < rows; ++r) {
              T* d_z_row = d_z.get() + r * a.dims * lanes;
              a.grad_marginal ? gradients<true>(a, components, first + r, c, d_z_row, own)
                              : gradients<false>(a, components, first + r, c, d_z_row, own);
            }
          for (int64_t i = 0; i < rows * a.dims; ++i)
            by_point[(k * a.points + first) * a.dims + i] = static_cast<T>(sum(F::load(d_z.get() + i * lanes)));
        }
      }
    });
    add_up(a, launch.parallel, parts, components, by_point, by_component);
  }

  template <bool kMarginals>
  static GK_INLINE void gradients(const GaussianMixtureBackward& a, const Components& components, int64_t point,
                                  int64_t c, T* d_z, const Received& received) {
    const T* z = static_cast<const T*>(a.z) + point * a.dims;
    F weights[kBlock], posterior[kBlock], d_weights[kBlock];
    components.weights_of(point, c, weights);
    for (int k = 0; k < kBlock; ++k) posterior[k] = F(T(0));
    if (a.grad_joint) {
      for (int64_t d = 0; d < a.dims; ++d)
        for (int k = 0; k < kBlock; ++k) {
          const Component<F> m = components.at(d, c, k);
          const F u = standardised(m, F(z[d]));
          posterior[k] = fma(-u, u, posterior[k]);
        }
      const F joint(value_for_shares(static_cast<const T*>(a.joint)[point]));
      const F grad(static_cast<const T*>(a.grad_joint)[point]);
      for (int k = 0; k < kBlock; ++k)
        posterior[k] = tail_exp(posterior[k] + (components.whole_bias(c, k) + weights[k]) - joint) * grad;
    }
    for (int k = 0; k < kBlock; ++k) d_weights[k] = posterior[k];
    for (int64_t d = 0; d < a.dims; ++d) {
      F by_z(T(0)), marginal(T(0)), by_marginal(T(0));
      if (kMarginals) {
        const int64_t at = point * a.dims + d;
        marginal = F(value_for_shares(static_cast<const T*>(a.marginal)[at]));
        by_marginal = F(static_cast<const T*>(a.grad_marginal)[at]);
      }
      for (int k = 0; k < kBlock; ++k) {
        T* to = received.values + (c * a.dims + d * kStride) * 2 + k * lanes;
        const Component<F> m = components.at(d, c, k);
        F weight = posterior[k];
        if (kMarginals) {
          const F own = tail_exp(log_density(m, F(z[d])) + weights[k] - marginal) * by_marginal;
          weight = weight + own;
          d_weights[k] = d_weights[k] + own;
        }
        const ComponentGradient<F> g = gradient(m, F(z[d]), weight);
        Received::add(to, g.loc);
        Received::add(to + kStride, g.log_scale);
        by_z = by_z - g.loc;
      }
      Received::add(d_z + d * lanes, by_z);
    }
    if (a.log_weights_row == 0) {
      for (int k = 0; k < kBlock; ++k) Received::add(received.weights + c + k * lanes, d_weights[k]);
    } else if (a.d_log_weights) {
      T own[kStride];
      for (int k = 0; k < kBlock; ++k) d_weights[k].store(own + k * lanes);
      T* to = static_cast<T*>(a.d_log_weights) + point * a.components + c;
      for (int64_t i = 0; i < least(kStride, a.components - c); ++i) to[i] = own[i];
    }
  }

  static void add_up(const GaussianMixtureBackward& a, const Parallel& parallel, const Parts& parts,
                     const Components& components, const T* by_point, const T* by_component) {
    const auto total = [](const T* from, int64_t stride, int64_t n) {
      double sum = 0.0;
      for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(from[i * stride]);
      return static_cast<T>(sum);
    };
    const int64_t size = a.points * a.dims, received = Received::size(a);
    if (a.d_z)
      for (int64_t i = 0; i < size; ++i) static_cast<T*>(a.d_z)[i] = total(by_point + i, size, parts.components);
    run(parallel, a.components, 2 * parts.points * a.dims, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const Received own(const_cast<T*>(by_component), components);
        for (int64_t d = 0; d < a.dims; ++d) {
          const T* from = own.values + Received::place(a, d, c);
          if (a.d_loc) static_cast<T*>(a.d_loc)[c * a.dims + d] = total(from, received, parts.points);
          if (a.d_log_scale)
            static_cast<T*>(a.d_log_scale)[c * a.dims + d] = total(from + kStride, received, parts.points);
        }
        if (a.d_log_weights && a.log_weights_row == 0)
          static_cast<T*>(a.d_log_weights)[c] = total(own.weights + c, received, parts.points);
      }
    });
  }
};

int64_t gaussian_mixture_forward_workspace(const GaussianMixtureForward& a) {
  return a.wide ? MixtureLoops<double>::forward_size(a) : (MixtureLoops<float>::forward_size(a) + 1) / 2;
}

int64_t gaussian_mixture_backward_workspace(const GaussianMixtureBackward& a) {
  return a.wide ? MixtureLoops<double>::backward_size(a) : (MixtureLoops<float>::backward_size(a) + 1) / 2;
}

Status gaussian_mixture_forward(const GaussianMixtureForward& a, const Launch& launch) {
  a.wide ? MixtureLoops<double>::forward(a, launch) : MixtureLoops<float>::forward(a, launch);
  return nullptr;
}

Status gaussian_mixture_backward(const GaussianMixtureBackward& a, const Launch& launch) {
  a.wide ? MixtureLoops<double>::backward(a, launch) : MixtureLoops<float>::backward(a, launch);
  return nullptr;
}

}  // namespace genkern::GENKERN_ISA
