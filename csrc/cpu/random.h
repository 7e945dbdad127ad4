// Keys and noise.
#pragma once

#include "cpu/noise.h"

namespace genkern::GENKERN_ISA {

template <class T>
void random_fill(const RandomFill& a, Parallel parallel) {
  const Extent extent{1, 1, a.numel};
  const Operand out{a.out, a.dtype, a.numel, a.numel, 1};
  const Chunks chunks(extent);
  const Source source(a.key.resolve());
  run(parallel, chunks.count(), kChunk, [&](int64_t begin, int64_t end) {
    NoiseBuffer<T> noise;
    for (int64_t chunk = begin; chunk < end; ++chunk)
      each_tile(extent, chunks, chunk, [&](const Span& s) {
        const uint64_t index = a.element_offset + s.first;
        const bool in_place = a.dtype == kNative<T> && index % kEach<T> == 0 && s.n % kNoiseBlock<T> == 0;
        T* to = in_place ? static_cast<T*>(a.out) + s.first : noise.data;
        const T* made = a.distribution == Distribution::normal ? source.fill<Normal>(index, s.n, to)
                                                               : source.fill<Uniform>(index, s.n, to);
        if (!in_place) store_runs(out, 0, Runs{s.first, 1, s.n, 0}, made);
      });
  });
}

Status random_fill(const RandomFill& a, const Launch& launch) {
  a.dtype == DType::f64 ? random_fill<double>(a, launch.parallel) : random_fill<float>(a, launch.parallel);
  return nullptr;
}

Status key_split(const KeySplit& a, const Launch&) {
  const Key key = a.key.resolve();
  for (int64_t i = 0; i < a.count; ++i) store_key(a.out + 2 * i, split(key, a.first + i));
  if (a.key.out) store_key(a.key.out, key);
  return nullptr;
}

}  // namespace genkern::GENKERN_ISA
