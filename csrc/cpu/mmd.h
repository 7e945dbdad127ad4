// The maximum mean discrepancy on the CPU: a few points at a time against blocks of all the points of both sets.
//
// Lanes are the points of a block, which lie by dimension, so that distances are sums of squared differences without a
// sum across lanes. Forward takes each pair once. Backward takes it once for each of its points, which own their
// gradients: nothing is scattered. Work is cut by shapes alone and added in order: the same bits for every number of
// threads.
#pragma once

#include <memory>

#include "cpu/launch.h"
#include "math/mmd.h"

namespace genkern::GENKERN_ISA {

template <class T, bool kInverse>
struct MmdLoops {
  using F = Vec<T>;
  using Kernel = MmdKernel<T, kInverse>;
  static constexpr int lanes = F::lanes;
  static constexpr int kBlock = 4;                    // vectors of points
  static constexpr int64_t kStride = kBlock * lanes;  // their points
  static constexpr int64_t kRows = 8;                 // points that share a block while it is in the cache
  static_assert(kStride % kRows == 0);

  // Places: the points of x, then those of y, each set padded to whole blocks.
  struct Points {
    const Mmd& a;
    int64_t middle, end;  // where y begins, and where it ends, with padding
    T* values;

    static int64_t round_up(int64_t n) { return (n + kStride - 1) / kStride * kStride; }
    static int64_t places(const Mmd& a) { return round_up(a.x_rows) + round_up(a.y_rows); }

    Points(const Mmd& a, T* memory) : a(a), middle(round_up(a.x_rows)), end(places(a)), values(memory) {}

    // As many elements as all pairs take as long as.
    int64_t as_elements() const { return (a.x_rows + a.y_rows) * end * a.dims / kPairs; }
    // The end of the points, without padding, of the set that the place belongs to.
    int64_t last(int64_t place) const { return place < middle ? a.x_rows : middle + a.y_rows; }
    const T* row(int64_t place) const {
      return place < middle ? static_cast<const T*>(a.x) + place * a.dims
                            : static_cast<const T*>(a.y) + (place - middle) * a.dims;
    }
    void fill(const Parallel& parallel) const {
      run(parallel, end / kStride, kStride * a.dims, [&](int64_t begin, int64_t stop) {
        for (int64_t p = begin * kStride; p < stop * kStride; ++p) {
          T* to = values + p / kStride * kStride * a.dims + p % kStride;
          const T* from = p < last(p) ? row(p) : nullptr;
          for (int64_t d = 0; d < a.dims; ++d) to[d * kStride] = from ? from[d] : T(0);
        }
      });
    }

    GK_INLINE F at(int64_t block, int64_t d, int k) const {
      return F::load(values + block * a.dims + d * kStride + k * lanes);
    }
    GK_INLINE void distances(const T* z, int64_t block, F (&squared)[kBlock]) const {
      for (F& s : squared) s = F(T(0));
      for (int64_t d = 0; d < a.dims; ++d)
        for (int k = 0; k < kBlock; ++k) {
          const F difference = F(z[d]) - at(block, d, k);
          squared[k] = fma(difference, difference, squared[k]);
        }
    }
    // 0 in place of the values at padding and where `counts` does not hold.
    template <class Counts>
    GK_INLINE void mask(int64_t block, F (&value)[kBlock], const Counts& counts) const {
      T keep[kStride];
      for (int64_t i = 0; i < kStride; ++i) keep[i] = block + i < last(block) && counts(block + i) ? T(1) : T(0);
      for (int k = 0; k < kBlock; ++k) value[k] = select(F::load(keep + k * lanes) > F(T(0)), value[k], F(T(0)));
    }
    GK_INLINE bool whole(int64_t block) const { return block + kStride <= last(block); }
  };

  // A sum with what its rounding lost (Kahan 1965).
  struct Sum {
    F total, lost;
    GK_INLINE Sum() : total(T(0)), lost(T(0)) {}  // written out: an implicit one is not compiled for the target
    GK_INLINE void add(F value) {
      const F corrected = value - lost, sum = total + corrected;
      lost = (sum - total) - corrected;
      total = sum;
    }
    double value() const {
      double sum = 0.0;
      for (int i = 0; i < lanes; ++i) sum += static_cast<double>(total.v[i]) - static_cast<double>(lost.v[i]);
      return sum;
    }
  };

  static int64_t groups(const Mmd& a) { return Points::places(a) / kRows; }
  static int64_t doubles(int64_t values) { return (values * static_cast<int64_t>(sizeof(T)) + 7) / 8; }
  static int64_t backward_size(const Mmd& a) { return doubles(Points::places(a) * a.dims); }
  static int64_t forward_size(const Mmd& a) { return 2 * groups(a) + backward_size(a); }

  static void forward(const MmdForward& a, const Launch& launch) {
    double* sums = launch.workspace;  // of a group of rows: over the later points of its set, and over the other set
    const int64_t n = groups(a);
    const Points points(a, reinterpret_cast<T*>(sums + 2 * n));
    const Kernel kernel(a);
    points.fill(launch.parallel);
    // The first groups meet the most points, the last the fewest: one of each makes a task.
    run(launch.parallel, (n + 1) / 2, points.as_elements() / n, [&](int64_t begin, int64_t end) {
      const FlushToZero<T> tails;
      for (int64_t task = begin; task < end; ++task) {
        add_group(points, kernel, task, sums + 2 * task);
        if (n - 1 - task > task) add_group(points, kernel, n - 1 - task, sums + 2 * (n - 1 - task));
      }
    });
    const MmdWeights weights(a);
    double own[2] = {}, both = 0.0;
    for (int64_t group = 0; group < n; ++group) {
      own[group * kRows >= points.middle] += sums[2 * group];
      both += sums[2 * group + 1];
    }
    *static_cast<T*>(a.value) =
        static_cast<T>(weights.x * own[0] + weights.y * own[1] + weights.both * both + weights.own);
  }

  static void add_group(const Points& points, const Kernel& kernel, int64_t group, double* to) {
    const int64_t first = group * kRows, rows = least(kRows, points.last(first) - first);
    Sum sums[2][kRows];
    for (int64_t block = first / kStride * kStride; block < points.end; block += kStride)
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t place = first + r;
        F value[kBlock];
        points.distances(points.row(place), block, value);
        for (F& v : value) v = kernel.value(v);
        if (block <= place || !points.whole(block))
          points.mask(block, value, [&](int64_t other) { return other > place; });
        sums[(block >= points.middle) != (place >= points.middle)][r].add((value[0] + value[1]) +
                                                                          (value[2] + value[3]));
      }
    for (int i = 0; i < 2; ++i) {
      to[i] = 0.0;
      for (const Sum& s : sums[i]) to[i] += s.value();
    }
  }

  static void backward(const MmdBackward& a, const Launch& launch) {
    const Points points(a, reinterpret_cast<T*>(launch.workspace));
    const Kernel kernel(a);
    points.fill(launch.parallel);
    run(launch.parallel, groups(a), 2 * points.as_elements() / groups(a), [&](int64_t begin, int64_t end) {
      const FlushToZero<T> tails;
      const auto gradients = std::make_unique<T[]>(kRows * a.dims * lanes);
      for (int64_t group = begin; group < end; ++group) {
        const bool of_y = group * kRows >= points.middle;
        if (of_y ? a.d_y : a.d_x) put_group(a, points, kernel, group * kRows, of_y, gradients.get());
      }
    });
  }

  static void put_group(const MmdBackward& a, const Points& points, const Kernel& kernel, int64_t first, bool of_y,
                        T* gradients) {
    const MmdWeights weights(a);
    const double own = of_y ? weights.y : weights.x;
    const F relative(static_cast<T>(own / weights.both));  // the pairs of both sets have weight 1 until the end
    const int64_t rows = least(kRows, points.last(first) - first);
    for (int64_t i = 0; i < rows * a.dims * lanes; ++i) gradients[i] = T(0);
    for (int64_t block = 0; block < points.end; block += kStride)
      for (int64_t r = 0; r < rows; ++r) {
        const int64_t place = first + r;
        const T* z = points.row(place);
        const bool same = (block >= points.middle) == of_y;
        F weight[kBlock];
        points.distances(z, block, weight);
        for (F& w : weight) w = same ? kernel.descent(w) * relative : kernel.descent(w);
        if (!points.whole(block) || (block <= place && place < block + kStride))
          points.mask(block, weight, [&](int64_t other) { return other != place; });
        T* to = gradients + r * a.dims * lanes;
        for (int64_t d = 0; d < a.dims; ++d, to += lanes) {
          F sum = F::load(to);
          for (int k = 0; k < kBlock; ++k) sum = fma(weight[k], F(z[d]) - points.at(block, d, k), sum);
          sum.store(to);
        }
      }
    const double factor = -2.0 * weights.both * static_cast<double>(*static_cast<const T*>(a.grad));
    T* to =
        (of_y ? static_cast<T*>(a.d_y) + (first - points.middle) * a.dims : static_cast<T*>(a.d_x) + first * a.dims);
    for (int64_t i = 0; i < rows * a.dims; ++i)
      to[i] = static_cast<T>(factor * static_cast<double>(sum(F::load(gradients + i * lanes))));
  }
};

// f(loops) for the type of arithmetic and the kernel.
template <class Call>
auto with_loops(const Mmd& a, const Call& f) {
  if (a.wide) return a.inverse_multiquadric ? f(MmdLoops<double, true>()) : f(MmdLoops<double, false>());
  return a.inverse_multiquadric ? f(MmdLoops<float, true>()) : f(MmdLoops<float, false>());
}

int64_t mmd_forward_workspace(const MmdForward& a) {
  return with_loops(a, [&](auto loops) { return loops.forward_size(a); });
}

int64_t mmd_backward_workspace(const MmdBackward& a) {
  return with_loops(a, [&](auto loops) { return loops.backward_size(a); });
}

Status mmd_forward(const MmdForward& a, const Launch& launch) {
  with_loops(a, [&](auto loops) { loops.forward(a, launch); });
  return nullptr;
}

Status mmd_backward(const MmdBackward& a, const Launch& launch) {
  with_loops(a, [&](auto loops) { loops.backward(a, launch); });
  return nullptr;
}

}  // namespace genkern::GENKERN_ISA
