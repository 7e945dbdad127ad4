// From a family's arguments to a launch: which compiled form of a kernel fits the tensors, and how it covers them.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>

#include "cuda/engine.cuh"

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

// The tensors of a launch: those of the model, and losses or gradients of losses, which have the type of arithmetic.
struct Tensors {
  std::initializer_list<const Operand*> data, losses;
};

// A loss that is written out element by element is a tensor too; a sum is not.
inline Operand elementwise(const Loss& loss) { return loss.reduction == Reduction::none ? loss.out : Operand{}; }

// Whether logical order is the order in memory, or one value serves all.
inline bool is_dense(const Operand& o, const Extent& e) {
  if (o.row == 0 && o.run == 0 && o.elem == 0) return true;
  return o.elem == 1 && (e.runs == 1 || o.run == e.length) && (e.rows == 1 || o.row == e.event());
}

// One long row, where nothing is summed by rows and everything is dense.
inline Extent flattened(const Extent& extent, const Tensors& tensors) {
  for (const auto* list : {&tensors.data, &tensors.losses})
    for (const Operand* o : *list)
      if (*o && !is_dense(*o, extent)) return extent;
  return {1, 1, extent.numel()};
}

// Whether the kernels for one storage type can walk it: one run a row, elements side by side or one for the row, and
// 32 bits for what they multiply and count.
inline bool is_simple(const Extent& e) { return e.runs == 1 && e.rows < int64_t{1} << 30; }
inline bool is_simple(const Operand& o, const Extent& e) {
  return (o.elem == 0 || o.elem == 1) && (e.rows == 1 || (o.row >= INT32_MIN && o.row <= INT32_MAX));
}

// The storage type, if it is one for all data, losses are float, and all of it is simple.
inline std::optional<DType> common_storage(const Extent& extent, const Tensors& tensors) {
  if (!is_simple(extent)) return std::nullopt;
  std::optional<DType> found;
  for (const Operand* o : tensors.data) {
    if (!*o) continue;
    if (!is_simple(*o, extent) || (found && o->dtype != *found)) return std::nullopt;
    found = o->dtype;
  }
  for (const Operand* o : tensors.losses)
    if (*o && (!is_simple(*o, extent) || o->dtype != DType::f32)) return std::nullopt;
  return found;
}

// f(engine) for tensors of one storage type, computed in float.
template <class F>
Status with_storage(DType storage, const F& f) {
  if (storage == DType::bf16) return f(Engine<float, __nv_bfloat16>());
  if (storage == DType::f16) return f(Engine<float, __half>());
  return f(Engine<float, float>());
}

// Whether some arguments of the type are plain: is_plain says std::false_type of those that never are.
template <class A>
inline constexpr bool kMayBePlain = !std::is_same_v<decltype(is_plain(std::declval<const A&>())), std::false_type>;

// f(engine, plain, arguments): the kernels are compiled for plain arguments of each storage type, and for anything.
// What is not summed by rows may be seen as one.
template <class A, class F>
Status with_engine(A a, bool by_rows, const Tensors& tensors, const F& f) {
  if (a.extent.numel() == 0) return nullptr;
  if (!by_rows) a.extent = flattened(a.extent, tensors);
  if (a.wide) return f(Engine<double, Any>(), std::false_type(), a);
  if constexpr (kMayBePlain<A>) {
    if (const auto storage = is_plain(a) ? common_storage(a.extent, tensors) : std::nullopt)
      return with_storage(*storage, [&](auto engine) { return f(engine, std::true_type(), a); });
  }
  return f(Engine<float, Any>(), std::false_type(), a);
}

// `element_offset` is the noise's, with whose counters the groups begin.
template <class E>
Plan plan_of(const Extent& extent, uint64_t element_offset) {
  return make_plan(extent, E::width, static_cast<int>(element_offset % E::width));
}

template <class E, class Tile, class A>
Status map(const A& a, uint64_t element_offset, const Launch& launch) {
  const Plan plan = plan_of<E>(a.extent, element_offset);
  return start(plan.blocks, launch, map_kernel<E, Tile, A>, a, plan);
}

template <class E, class Tile, int kLosses, class A>
Status reduce(const A& a, const Loss* const (&losses)[kLosses], uint64_t element_offset, const Launch& launch) {
  const Plan plan = plan_of<E>(a.extent, element_offset);
  Losses<kLosses> copies;
  for (int k = 0; k < kLosses; ++k) copies.loss[k] = *losses[k];
  return start(plan.blocks, launch, reduce_kernel<E, Tile, kLosses, A>, a, plan, copies,
               Meeting{launch.workspace, launch.ticket});
}

}  // namespace genkern::cuda
