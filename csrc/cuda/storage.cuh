// Between what lies in memory and the registers of a group: V consecutive elements, which one thread handles.
//
// A group that is whole and lies at a 16-byte boundary moves in 16-byte accesses; anything else element by element.
// The address decides, group by group, so tensors that begin anywhere and rows of any length are right, and those that
// are aligned are fast.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstring>
#include <type_traits>

#include "kernels.h"

namespace genkern::cuda {

// One run's part of a group: elements from ... to - 1 of it exist. kAny: of any tensors; else a row is one run, and
// rows and their strides have 32 bits (launch.cuh sees to it), whose product takes one instruction instead of several.
template <int V, bool kAny>
struct Span {
  static constexpr int n = V;
  using Index = std::conditional_t<kAny, int64_t, int32_t>;
  Index row, run;
  int64_t elem;   // place within the run of the group's element 0, below 0 where the run begins inside the group
  int64_t first;  // logical index of element 0
  int from, to;

  GK_DEVICE bool whole() const { return to - from == V; }
  GK_DEVICE bool has(int k) const { return k >= from && k < to; }
  GK_DEVICE int64_t run_in(const Operand& o) const {
    return static_cast<int64_t>(row) * static_cast<Index>(o.row) + (kAny ? run * o.run : 0);
  }
};

GK_DEVICE float widen(float v) { return v; }
GK_DEVICE double widen(double v) { return v; }
GK_DEVICE float widen(__nv_bfloat16 v) { return __bfloat162float(v); }
GK_DEVICE float widen(__half v) { return __half2float(v); }
template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
GK_DEVICE Integer widen(Integer v) {
  return v;
}

template <class S, class T>
GK_DEVICE S narrow(T v) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>) {
    return __float2bfloat16(static_cast<float>(v));
  } else if constexpr (std::is_same_v<S, __half>) {
    return __float2half(static_cast<float>(v));
  } else {
    return static_cast<S>(v);
  }
}

// A group in memory, moved in accesses of up to 16 bytes.
template <class S, int V>
struct alignas(sizeof(S) * V < 16 ? sizeof(S) * V : 16) Packet {
  static constexpr int bytes = sizeof(S) * V;
  using Short = std::conditional_t<bytes == 2, unsigned short, unsigned>;
  using Word = std::conditional_t<(bytes < 8), Short, std::conditional_t<bytes == 8, uint2, uint4>>;
  static constexpr int words = bytes / sizeof(Word);
  S data[V];

  // The compiler does not merge this instruction with the stores of single elements, which would undo it.
  GK_DEVICE void store(S* p) const {
    Word word[words];
    memcpy(word, data, bytes);
    GK_UNROLL
    for (int i = 0; i < words; ++i) __stwb(reinterpret_cast<Word*>(p) + i, word[i]);
  }
};

template <class S, int V>
GK_DEVICE bool aligned(const S* p) {
  return reinterpret_cast<uintptr_t>(p) % alignof(Packet<S, V>) == 0;
}

// A group of an operand whose elements are of type S. With kAny they may lie any stride apart; else side by side, or
// one serves all. `shift` is an offset of the whole operand (one sample of several).
template <class S, class T, int V, bool kAny>
GK_DEVICE void load_group(const Operand& o, int64_t shift, const Span<V, kAny>& s, T (&out)[V]) {
  const S* run = static_cast<const S*>(o.data) + shift + s.run_in(o);
  const S* p = run + (kAny ? s.elem * o.elem : s.elem);
  if (!kAny && o.elem == 0) {
    const T value = static_cast<T>(widen(*run));
    GK_UNROLL
    for (int k = 0; k < V; ++k) out[k] = value;
  } else if (s.whole() && (!kAny || o.elem == 1) && aligned<S, V>(p)) {
    const Packet<S, V> packet = *reinterpret_cast<const Packet<S, V>*>(p);
    GK_UNROLL
    for (int k = 0; k < V; ++k) out[k] = static_cast<T>(widen(packet.data[k]));
  } else {
    GK_UNROLL
    for (int k = 0; k < V; ++k) out[k] = s.has(k) ? static_cast<T>(widen(p[kAny ? k * o.elem : k])) : T(0);
  }
}

template <class S, class T, int V, bool kAny>
GK_DEVICE void store_group(const Operand& o, int64_t shift, const Span<V, kAny>& s, const T (&values)[V]) {
  S* p = static_cast<S*>(o.data) + shift + s.run_in(o) + (kAny ? s.elem * o.elem : s.elem);
  if (s.whole() && (!kAny || o.elem == 1) && aligned<S, V>(p)) {
    Packet<S, V> packet;
    GK_UNROLL
    for (int k = 0; k < V; ++k) packet.data[k] = narrow<S>(values[k]);
    packet.store(p);
  } else {
    GK_UNROLL
    for (int k = 0; k < V; ++k)
      if (s.has(k)) p[kAny ? k * o.elem : k] = narrow<S>(values[k]);
  }
}

// Elements of a type that is known at run time only; of one that may be an integer.
struct Any {};
struct AnyNumber {};

// f(S()) for the storage type; double is not among them where arithmetic is in float.
template <class T, class F>
GK_DEVICE void with_storage(DType dtype, const F& f) {
  if (sizeof(T) == 8 && dtype == DType::f64) return f(T());
  if (dtype == DType::f32) return f(float());
  if (dtype == DType::bf16) return f(__nv_bfloat16());
  f(__half());
}

template <class S, class T, int V, bool kAny>
GK_DEVICE void load(const Operand& o, int64_t shift, const Span<V, kAny>& s, T (&out)[V]) {
  if constexpr (std::is_same_v<S, AnyNumber>) {
    if (o.dtype == DType::i16) return load_group<int16_t>(o, shift, s, out);
    if (o.dtype == DType::i32) return load_group<int32_t>(o, shift, s, out);
    if (o.dtype == DType::i64) return load_group<int64_t>(o, shift, s, out);
    load<Any>(o, shift, s, out);
  } else if constexpr (std::is_same_v<S, Any>) {
    with_storage<T>(o.dtype, [&](auto type) { load_group<decltype(type)>(o, shift, s, out); });
  } else {
    load_group<S>(o, shift, s, out);
  }
}

template <class S, class T, int V, bool kAny>
GK_DEVICE void store(const Operand& o, int64_t shift, const Span<V, kAny>& s, const T (&values)[V]) {
  if constexpr (std::is_same_v<S, Any>) {
    with_storage<T>(o.dtype, [&](auto type) { store_group<decltype(type)>(o, shift, s, values); });
  } else {
    store_group<S>(o, shift, s, values);
  }
}

}  // namespace genkern::cuda
