// The drivers: they choose the compiled form of a kernel that fits the tensors, and how it covers them.
#pragma once

#include <optional>

#include "cuda/classes.cuh"

namespace genkern::cuda {

// The one place where a kernel starts.
template <class... P, class... A>
Status start(int64_t blocks, const Launch& launch, void (*kernel)(P...), const A&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(kThreads);
  config.stream = static_cast<cudaStream_t>(launch.stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, arguments...);
  if (error == cudaSuccess) return nullptr;
  cudaGetLastError();  // told here, it is not to be found again by whoever asks next
  return cudaGetErrorString(error);
}

// The tensor that stands in a struct's list of operands. A loss that is written out element by element is one; a sum is
// none.
inline const Operand& tensor(const Operand& o) { return o; }
inline const LossOperand& tensor(const LossOperand& o) { return o; }
inline const ClassOperand& tensor(const ClassOperand& o) { return o; }
inline LossOperand tensor(const Loss& loss) {
  return loss.reduction == Reduction::none ? LossOperand{loss.out} : LossOperand{};
}

// Whether logical order is the order in memory, or one value serves all.
inline bool is_dense(const Operand& o, const Extent& e) {
  if (o.row == 0 && o.run == 0 && o.elem == 0) return true;
  return o.elem == 1 && (e.runs == 1 || o.run == e.length) && (e.rows == 1 || o.row == e.event());
}

// One long row, where everything is dense.
template <class A>
Extent flattened(const A& a) {
  bool dense = true;
  a.each_operand([&](const auto& o) { dense = dense && (!tensor(o) || is_dense(tensor(o), a.extent)); });
  return dense ? Extent{1, 1, a.extent.numel()} : a.extent;
}

// Whether the kernels for one storage type can walk it: one run a row, elements side by side or one for the row, and
// 32 bits for what they multiply and count. Elements with classes may lie any stride apart.
inline bool is_simple(const Extent& e) { return e.runs == 1 && e.rows < int64_t{1} << 30; }
inline bool has_near_rows(const Operand& o, const Extent& e) {
  return e.rows == 1 || (o.row >= INT32_MIN && o.row <= INT32_MAX);
}
inline bool is_simple(const Operand& o, const Extent& e) { return (o.elem == 0 || o.elem == 1) && has_near_rows(o, e); }
inline bool is_simple(const ClassOperand& o, const Extent& e) { return has_near_rows(o, e); }

// The storage type, if it is one for all data, losses are float, and all of it is simple.
template <class A>
std::optional<DType> common_storage(const A& a) {
  bool common = is_simple(a.extent);
  std::optional<DType> found;
  a.each_operand([&](const auto& operand) {
    const auto o = tensor(operand);
    if (!o) return;
    common = common && is_simple(o, a.extent);
    if constexpr (std::is_same_v<decltype(o), const LossOperand>) {
      common = common && o.dtype == DType::f32;
    } else {
      common = common && (!found || o.dtype == *found);
      found = o.dtype;
    }
  });
  return common ? found : std::nullopt;
}

template <class A, class T, class S>
using EngineOf = std::conditional_t<std::is_base_of_v<Classes, A>, ClassEngine<T, S>, Engine<T, S>>;

// f(engine) for tensors of one storage type, computed in float.
template <class A, class F>
Status with_plain_engine(DType storage, const F& f) {
  if (storage == DType::bf16) return f(EngineOf<A, float, __nv_bfloat16>());
  if (storage == DType::f16) return f(EngineOf<A, float, __half>());
  return f(EngineOf<A, float, float>());
}

// f(engine, arguments): the kernels are compiled for plain arguments of each storage type, and for anything. What is
// not summed by rows may be seen as one.
template <template <class> class Tile, class A, class F>
Status with_engine(A a, bool by_rows, const F& f) {
  using General = EngineOf<A, float, Any>;
  if (a.extent.numel() == 0) return nullptr;
  if constexpr (!std::is_base_of_v<Classes, A> && !kKeepsRows<Tile<General>>)
    if (!by_rows) a.extent = flattened(a);
  const auto fitted = [&](auto engine) { return f(typename Fitted<Tile, decltype(engine)>::type(), a); };
  if (a.wide) return fitted(EngineOf<A, double, Any>());
  if constexpr (!std::is_same_v<IsPlain<A>, std::false_type>)
    if (const auto storage = is_plain(a) ? common_storage(a) : std::nullopt)
      return with_plain_engine<A>(*storage, fitted);
  return fitted(General());
}

// The index of the first element, where each has noise of its own.
template <class A, class = void>
inline constexpr bool kHasNoise = false;
template <class A>
inline constexpr bool kHasNoise<A, std::void_t<decltype(A::noise)>> = std::is_same_v<decltype(A::noise), Noise>;
template <class A>
uint64_t first_of(const A& a) {
  if constexpr (kHasNoise<A>) {
    return a.noise.element_offset;
  } else {
    return 0;
  }
}

// Groups begin with the counters of the first element's noise.
template <class E, class A>
Plan plan_of(const A& a) {
  return make_plan(a.extent, E::width, static_cast<int>(first_of(a) % E::width));
}

template <class E, class Tile, class A>
Status map_tiles(const A& a, const Launch& launch) {
  const Plan plan = plan_of<E>(a);
  return start(plan.blocks, launch, map_kernel<E, Tile, A>, a, plan);
}

template <class E, class Tile, class A, int kLosses>
Status reduce_tiles(const A& a, const Losses<kLosses>& losses, const Launch& launch) {
  const Plan plan = plan_of<E>(a);
  return start(plan.blocks, launch, reduce_kernel<E, Tile, kLosses, A>, a, plan, losses,
               Meeting{launch.workspace, launch.ticket});
}

// `reduce_tiles` where a loss is wanted, else `map_tiles`.
template <template <class> class Tile, class A>
Status run_tile(const A& arguments, const Launch& launch) {
  constexpr int count = LossesOf<A>::count;
  const LossesOf<A> given(arguments);
  Losses<(count > 0 ? count : 1)> losses;
  for (int k = 0; k < count; ++k) losses.loss[k] = *given.at[k];
  const bool by_rows = losses.loss[0].reduction == Reduction::event;
  return with_engine<Tile>(arguments, by_rows, [&](auto engine, const A& a) {
    using E = decltype(engine);
    if constexpr (!kMaps<E, Tile<E>>) {
      return reduce_tiles<E, Tile<E>>(a, losses, launch);
    } else if constexpr (count == 0) {
      return map_tiles<E, Tile<E>>(a, launch);
    } else {
      return losses.loss[0].out ? reduce_tiles<E, Tile<E>>(a, losses, launch) : map_tiles<E, Tile<E>>(a, launch);
    }
  });
}

}  // namespace genkern::cuda
