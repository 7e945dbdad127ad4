// The maximum mean discrepancy on a GPU: tiles of 64 points meet tiles of 64 points, distances are made like a product
// of matrices. Forward takes each pair of tiles once; backward takes it once for each side, which owns its gradient.
#include "cuda/pairs.cuh"
#include "math/mmd.h"

namespace genkern::cuda {
namespace {

// A tile: points of one set, of which `count` are there.
template <class T>
struct Tile {
  const T* first;
  int64_t dims;
  int count;
  bool of_y;
  GK_DEVICE T at(int i, int64_t d) const { return i < count ? first[i * dims + d] : T(0); }
};

template <class T>
struct Points {
  Mmd a;
  int64_t x_tiles, tiles;

  explicit Points(const Mmd& a)
      : a(a), x_tiles(divide_up(a.x_rows, kTile)), tiles(x_tiles + divide_up(a.y_rows, kTile)) {}

  GK_DEVICE Tile<T> tile(int64_t number) const {
    const bool of_y = number >= x_tiles;
    const int64_t from = (of_y ? number - x_tiles : number) * kTile;
    const T* points = static_cast<const T*>(of_y ? a.y : a.x);
    return {points + from * a.dims, a.dims, within(from, of_y ? a.y_rows : a.x_rows), of_y};
  }
};

template <class T>
GK_DEVICE void distances(const Tile<T>& own, const Tile<T>& other, T (&squared)[kOwn][kOwn]) {
  constexpr int depth = kDepth<T>;
  __shared__ T owns[depth][kTile], others[depth][kTile];
  const Place at;
  GK_UNROLL
  for (int i = 0; i < kOwn; ++i) GK_UNROLL
  for (int j = 0; j < kOwn; ++j) squared[i][j] = T(0);
  for (int64_t d0 = 0; d0 < own.dims; d0 += depth) {
    __syncthreads();
    for (int k = static_cast<int>(threadIdx.x); k < depth * kTile; k += kThreads) {
      const int d = k % depth, n = k / depth;
      const bool there = d0 + d < own.dims;
      owns[d][n] = there ? own.at(n, d0 + d) : T(0);
      others[d][n] = there ? other.at(n, d0 + d) : T(0);
    }
    __syncthreads();
    for (int d = 0; d < depth; ++d) {
      T z[kOwn], q[kOwn];
      GK_UNROLL
      for (int i = 0; i < kOwn; ++i) {
        z[i] = owns[d][at.y + i * kSide];
        q[i] = others[d][at.x + i * kSide];
      }
      GK_UNROLL
      for (int i = 0; i < kOwn; ++i) GK_UNROLL
      for (int j = 0; j < kOwn; ++j) {
        const T difference = z[i] - q[j];
        squared[i][j] = fma(difference, difference, squared[i][j]);
      }
    }
  }
}

// ---- forward ----

constexpr int64_t kSumBlocks = 4 * kEnoughBlocks;

// Each pair of tiles once: rows of a triangle, the first with the last, the second with the last but one, ...
GK_DEVICE bool pair_of(int64_t item, int64_t tiles, int64_t& own, int64_t& other) {
  const int64_t row = item / (tiles + 1), k = item % (tiles + 1), length = tiles - row;
  own = k < length ? row : tiles - 1 - row;
  other = own + (k < length ? k : k - length);
  return k < length || own != row;
}

template <class T, bool kInverse>
__global__ void __launch_bounds__(kThreads, 1)
    sums_kernel(const __grid_constant__ Points<T> points, const __grid_constant__ MmdKernel<T, kInverse> kernel,
                double* sums, int64_t items) {
  const Place at;
  double x = 0.0, y = 0.0, both = 0.0;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    int64_t i_tile, j_tile;
    if (!pair_of(item, points.tiles, i_tile, j_tile)) continue;
    const Tile<T> own = points.tile(i_tile), other = points.tile(j_tile);
    T squared[kOwn][kOwn];
    distances(own, other, squared);
    double sum = 0.0;
    GK_UNROLL
    for (int i = 0; i < kOwn; ++i) {
      T part = T(0);
      GK_UNROLL
      for (int j = 0; j < kOwn; ++j) {
        const int n = at.y + i * kSide, m = at.x + j * kSide;
        const T value = kernel.value(squared[i][j]);
        part += n < own.count && m < other.count && (i_tile != j_tile || m > n) ? value : T(0);
      }
      sum += static_cast<double>(part);
    }
    x += own.of_y || other.of_y ? 0.0 : sum;
    y += own.of_y && other.of_y ? sum : 0.0;
    both += own.of_y != other.of_y ? sum : 0.0;
  }
  x = block_sum(x);
  y = block_sum(y);
  both = block_sum(both);
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = x;
    sums[gridDim.x + blockIdx.x] = y;
    sums[2 * gridDim.x + blockIdx.x] = both;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1)
    value_kernel(const double* sums, int64_t blocks, const __grid_constant__ MmdWeights weights, T* value) {
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < blocks; i += kThreads)
    sum += weights.x * sums[i] + weights.y * sums[blocks + i] + weights.both * sums[2 * blocks + i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *value = static_cast<T>(sum + weights.own);
}

template <class T, bool kInverse>
Status forward(const MmdForward& a, const Launch& launch) {
  const Points<T> points(a);
  const int64_t items = divide_up(points.tiles, 2) * (points.tiles + 1);
  const int64_t blocks = items < kSumBlocks ? items : kSumBlocks;
  if (const Status s =
          start(blocks, launch, sums_kernel<T, kInverse>, points, MmdKernel<T, kInverse>(a), launch.workspace, items))
    return s;
  return start(1, launch, value_kernel<T>, launch.workspace, blocks, MmdWeights(a), static_cast<T*>(a.value));
}

// ---- backward ----

// What one set's gradient is made of: that of [parts, n, D], from which the last launch makes it.
template <class T>
struct Target {
  T* to;
  int64_t first, tiles, rows;  // tiles from `first` on
  T relative, factor;          // of pairs within the set to the others; of all
  const T* grad;
};

template <class T, bool kInverse>
__global__ void __launch_bounds__(kThreads, 1)
    gradients_kernel(const __grid_constant__ Points<T> points, const __grid_constant__ MmdKernel<T, kInverse> kernel,
                     const __grid_constant__ Target<T> target, int64_t items, int64_t parts) {
  __shared__ T weights[kTile][kTile + 1];
  const Place at;
  const int64_t dims = points.a.dims;
  const T factor = target.factor * *target.grad;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const Work work(item, parts, points.tiles * kTile);
    const Tile<T> own = points.tile(target.first + work.tile);
    for (int64_t number = work.first; number < work.last; ++number) {
      const Tile<T> other = points.tile(number);
      const bool itself = number == target.first + work.tile;
      T squared[kOwn][kOwn];
      distances(own, other, squared);
      __syncthreads();  // the last tile's weights may still be read
      GK_UNROLL
      for (int i = 0; i < kOwn; ++i) GK_UNROLL
      for (int j = 0; j < kOwn; ++j) {
        const int n = at.y + i * kSide, m = at.x + j * kSide;
        const T weight = kernel.descent(squared[i][j]) * (own.of_y == other.of_y ? target.relative : T(1));
        weights[n][m] = m < other.count && !(itself && m == n) ? weight : T(0);
      }
      __syncthreads();
      for (int64_t d = at.x; d < dims; d += kSide) {
        T z[kOwn], sum[kOwn] = {};
        GK_UNROLL
        for (int i = 0; i < kOwn; ++i) z[i] = own.at(at.y + i * kSide, d);
        for (int m = 0; m < other.count; ++m) {
          const T q = other.first[m * dims + d];
          GK_UNROLL
          for (int i = 0; i < kOwn; ++i) sum[i] = fma(weights[at.y + i * kSide][m], z[i] - q, sum[i]);
        }
        GK_UNROLL
        for (int i = 0; i < kOwn; ++i) {
          const int n = at.y + i * kSide;
          const int64_t row = work.tile * kTile + n;
          if (n < own.count)
            put(target.to + (work.part * target.rows + row) * dims + d, number == work.first, factor * sum[i]);
        }
      }
    }
  }
}

template <class T, bool kInverse>
struct Backward {
  const MmdBackward& a;
  Memory<T> memory;
  Points<T> points;
  int64_t x_parts, y_parts;
  T *x, *y;

  Backward(const MmdBackward& a, double* workspace)
      : a(a),
        memory{reinterpret_cast<T*>(workspace)},
        points(a),
        x_parts(parts_of(a.x_rows, points.tiles * kTile)),
        y_parts(parts_of(a.y_rows, points.tiles * kTile)),
        x(target(a.d_x, x_parts, a.x_rows * a.dims)),
        y(target(a.d_y, y_parts, a.y_rows * a.dims)) {}

  T* target(void* result, int64_t parts, int64_t n) {
    if (!result) return nullptr;
    return parts == 1 ? static_cast<T*>(result) : memory.take(parts * n);
  }

  Status run(const Launch& launch) const {
    const MmdWeights w(a);
    const T factor = static_cast<T>(-2.0 * w.both);
    const auto* grad = static_cast<const T*>(a.grad);
    const int64_t y_tiles = points.tiles - points.x_tiles;
    const T own_x = static_cast<T>(w.x / w.both), own_y = static_cast<T>(w.y / w.both);
    if (const Status s = gradient(launch, a.d_x, x_parts, {x, 0, points.x_tiles, a.x_rows, own_x, factor, grad}))
      return s;
    return gradient(launch, a.d_y, y_parts, {y, points.x_tiles, y_tiles, a.y_rows, own_y, factor, grad});
  }

  Status gradient(const Launch& launch, void* result, int64_t parts, const Target<T>& target) const {
    if (!result) return nullptr;
    const int64_t items = target.tiles * parts;
    if (const Status s = start(blocks_for(items), launch, gradients_kernel<T, kInverse>, points,
                               MmdKernel<T, kInverse>(a), target, items, parts))
      return s;
    return add_parts<T>(launch, result, target.to, target.rows * a.dims, parts);
  }
};

// f(T, kInverse) as values of their types.
template <class F>
auto with_kernel(const Mmd& a, const F& f) {
  if (a.wide) return a.inverse_multiquadric ? f(0.0, std::true_type()) : f(0.0, std::false_type());
  return a.inverse_multiquadric ? f(0.0f, std::true_type()) : f(0.0f, std::false_type());
}

}  // namespace

int64_t mmd_forward_workspace(const MmdForward&) { return 3 * kSumBlocks; }

int64_t mmd_backward_workspace(const MmdBackward& a) {
  return with_kernel(a, [&](auto number, auto inverse) {
    return Backward<decltype(number), decltype(inverse)::value>(a, nullptr).memory.doubles();
  });
}

Status mmd_forward(const MmdForward& a, const Launch& launch) {
  return with_kernel(
      a, [&](auto number, auto inverse) { return forward<decltype(number), decltype(inverse)::value>(a, launch); });
}

Status mmd_backward(const MmdBackward& a, const Launch& launch) {
  return with_kernel(a, [&](auto number, auto inverse) {
    return Backward<decltype(number), decltype(inverse)::value>(a, launch.workspace).run(launch);
  });
}

}  // namespace genkern::cuda
