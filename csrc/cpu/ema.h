// Exponential moving averages of many tensors on the CPU: one loop over the chunks of all of them.
#pragma once

#include "cpu/launch.h"

namespace genkern::GENKERN_ISA {

template <class T>
void ema_span(const Span& s, const Operand& average, const Operand& value, Vec<T> weight) {
  Input<T> before(average), towards(value);
  Output<T> after(average);
  before.fetch(s);
  towards.fetch(s);
  after.prepare(s);
  for (int64_t i = 0; i < s.n; i += Vec<T>::lanes) after.set(i, fma(weight, towards[i] - before[i], before[i]));
  after.commit(s);
}

// The same of numbers that are stored alike: they go through no buffer.
template <class T, class S>
void ema_alike(S* average, const S* value, int64_t n, Vec<T> weight) {
  constexpr int lanes = Vec<T>::lanes;
  const auto update = [&](S* to, const S* towards) {
    const Vec<T> before = load_as<T>(to);
    store(fma(weight, load_as<T>(towards) - before, before), to);
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) update(average + i, value + i);
  if (i == n) return;
  S last[lanes] = {}, towards[lanes] = {};
  copy_rest<lanes / 2>(average + i, last, n - i);
  copy_rest<lanes / 2>(value + i, towards, n - i);
  update(last, towards);
  copy_rest<lanes / 2>(last, average + i, n - i);
}

template <class T>
void ema_update(const EmaUpdate& a, const Launch& launch) {
  const auto chunks_of = [](const EmaTensor& t) { return Chunks(Extent{1, 1, t.numel}).count(); };
  int64_t total = 0, elements = 0;
  for (int64_t k = 0; k < a.count; ++k) total += chunks_of(a.tensors[k]), elements += a.tensors[k].numel;
  const Vec<T> weight(static_cast<T>(a.weight));
  run(launch.parallel, total, elements / (total + 1), [&](int64_t begin, int64_t end) {
    const EmaTensor* t = a.tensors;
    int64_t before = 0;  // chunks of the tensors before this one
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      while (chunk - before >= chunks_of(*t)) before += chunks_of(*t++);
      const Extent extent{1, 1, t->numel};
      const Operand average{t->average, t->average_type, 0, 0, 1};
      const Operand value{const_cast<void*>(t->value), t->value_type, 0, 0, 1};
      const Chunks chunks(extent);
      const int64_t first = chunks.first(chunk - before), last = chunks.last(chunk - before);
      if (average.dtype == value.dtype) {
        with_data(average, [&](auto* to) {
          using S = std::remove_pointer_t<decltype(to)>;
          ema_alike<T>(to + first, static_cast<const S*>(t->value) + first, last - first, weight);
        });
        continue;
      }
      each_tile(extent, chunks, chunk - before, [&](const Span& s) { ema_span<T>(s, average, value, weight); });
    }
  });
}

Status ema_update(const EmaUpdate& a, const Launch& launch) {
  a.wide ? ema_update<double>(a, launch) : ema_update<float>(a, launch);
  return nullptr;
}

}  // namespace genkern::GENKERN_ISA
