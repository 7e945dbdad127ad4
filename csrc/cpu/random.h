// Keys and noise.
#pragma once

#include "cpu/noise.h"

namespace genkern::GENKERN_ISA {

// Elements first ... first + n - 1: whole blocks where they belong if they are of the kernel's type, others by tiles.
template <class Kind, class T>
void random_chunk(const RandomFill& a, const Source& source, int64_t first, int64_t n, NoiseBuffer<T>& tile) {
  const uint64_t index = a.element_offset + first;
  const bool in_place = a.dtype == kNative<T> && index % kEach<T> == 0;
  const int64_t whole = in_place ? n - n % kNoiseBlock<T> : 0;
  if (whole > 0) source.fill<Kind>(index, whole, static_cast<T*>(a.out) + first);
  for (int64_t at = whole; at < n; at += kTile) {
    const int64_t here = least(kTile, n - at);
    const T* made = source.fill<Kind>(index + at, here, tile.data);
    store_runs(Operand{a.out, a.dtype, a.numel, a.numel, 1}, 0, Runs{first + at, 1, here, 0}, made);
  }
}

template <class Kind, class T>
void random_fill(const RandomFill& a, const Parallel& parallel) {
  const Chunks chunks(Extent{1, 1, a.numel});
  const Source source(a.key.resolve());
  run(parallel, chunks.count(), kChunk, [&](int64_t begin, int64_t end) {
    NoiseBuffer<T> tile;
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunks.first(chunk);
      random_chunk<Kind>(a, source, first, chunks.last(chunk) - first, tile);
    }
  });
}

template <class Kind>
void random_fill(const RandomFill& a, const Parallel& parallel) {
  a.dtype == DType::f64 ? random_fill<Kind, double>(a, parallel) : random_fill<Kind, float>(a, parallel);
}

Status random_fill(const RandomFill& a, const Launch& launch) {
  a.distribution == Distribution::normal ? random_fill<Normal>(a, launch.parallel)
                                         : random_fill<Uniform>(a, launch.parallel);
  return nullptr;
}

Status key_split(const KeySplit& a, const Launch&) {
  const Key key = a.key.resolve();
  for (int64_t i = 0; i < a.count; ++i) store_key(a.out + 2 * i, split(key, a.first + i));
  if (a.key.out) store_key(a.key.out, key);
  return nullptr;
}

}  // namespace genkern::GENKERN_ISA
