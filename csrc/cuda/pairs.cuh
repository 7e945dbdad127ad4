// Pairs of points on a GPU: tiles of those that own a sum meet tiles of the others. Where the owners' tiles are few,
// the others are cut into parts, which a last launch adds in order.
#pragma once

#include "cuda/launch.cuh"

namespace genkern::cuda {

constexpr int kTile = 64;  // points or components
template <class T>
constexpr int kDepth = 64 / sizeof(T);           // dimensions of them in shared memory
constexpr int kSide = 16, kOwn = kTile / kSide;  // threads along a side of a tile; what each has of it
constexpr int64_t kEnoughBlocks = 264;

// Memory of a workspace, handed out piece by piece; without one it only counts.
template <class T>
struct Memory {
  T* at;
  int64_t used = 0;
  T* take(int64_t n) {
    T* piece = at ? at + used : nullptr;
    used += n;
    return piece;
  }
  int64_t doubles() const { return (used * static_cast<int64_t>(sizeof(T)) + 7) / 8; }
};

// A piece of work: an owner's tile and the part of the others that it meets.
struct Work {
  int64_t tile, part, first, last;  // tiles of the others

  GK_DEVICE Work(int64_t item, int64_t parts, int64_t others) : tile(item / parts), part(item % parts) {
    const int64_t tiles = (others + kTile - 1) / kTile, each = (tiles + parts - 1) / parts;
    first = part * each;
    last = first + each < tiles ? first + each : tiles;
  }
};

struct Place {
  int x, y;  // along components, along points
  GK_DEVICE Place() : x(static_cast<int>(threadIdx.x) % kSide), y(static_cast<int>(threadIdx.x) / kSide) {}
};

template <class T>
GK_DEVICE void put(T* to, bool first, T value) {
  *to = first ? value : *to + value;
}

GK_DEVICE int within(int64_t from, int64_t size) { return size - from < kTile ? static_cast<int>(size - from) : kTile; }

template <class T>
__global__ void __launch_bounds__(kThreads, 1) add_kernel(T* to, const T* from, int64_t n, int64_t parts) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += static_cast<int64_t>(gridDim.x) * kThreads) {
    double sum = 0.0;
    for (int64_t part = 0; part < parts; ++part) sum += static_cast<double>(from[part * n + i]);
    to[i] = static_cast<T>(sum);
  }
}

inline int64_t blocks_for(int64_t items) { return items < kMostBlocks ? items : kMostBlocks; }
inline int64_t threads_for(int64_t items) { return blocks_for(divide_up(items, kThreads)); }

// Parts of the others where an owner's tiles alone would not fill a GPU; every part has a tile at least.
inline int64_t parts_of(int64_t owners, int64_t others) {
  const int64_t tiles = divide_up(others, kTile), wanted = divide_up(kEnoughBlocks, divide_up(owners, kTile));
  const int64_t parts = wanted < tiles ? wanted : tiles;
  return divide_up(tiles, divide_up(tiles, parts));
}

// The result from its parts, where they are not the result.
template <class T>
Status add_parts(const Launch& launch, void* result, const T* parts, int64_t n, int64_t count) {
  if (!result || result == parts || n == 0) return nullptr;
  return start(threads_for(n), launch, add_kernel<T>, static_cast<T*>(result), parts, n, count);
}

}  // namespace genkern::cuda
