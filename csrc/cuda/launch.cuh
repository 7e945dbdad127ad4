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
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
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

// The storage type, if it is one for all data, losses are float, and no element is a stride away from the next.
inline std::optional<DType> common_storage(const Tensors& tensors) {
  std::optional<DType> found;
  for (const Operand* o : tensors.data) {
    if (!*o) continue;
    if (o->elem > 1 || o->elem < 0 || (found && o->dtype != *found)) return std::nullopt;
    found = o->dtype;
  }
  for (const Operand* o : tensors.losses)
    if (*o && (o->elem > 1 || o->elem < 0 || o->dtype != DType::f32)) return std::nullopt;
  return found;
}

// One long row, where nothing is summed by rows and everything is dense.
inline Extent flattened(const Extent& extent, const Tensors& tensors) {
  for (const auto* list : {&tensors.data, &tensors.losses})
    for (const Operand* o : *list)
      if (*o && !is_dense(*o, extent)) return extent;
  return {1, 1, extent.numel()};
}

// f(engine, plain): the kernels are compiled for plain arguments of each storage type, and for anything.
template <class F>
Status with_engine(bool wide, bool plain, const Tensors& tensors, const F& f) {
  if (wide) return f(Engine<double, Any>(), std::false_type());
  const auto storage = plain ? common_storage(tensors) : std::nullopt;
  if (storage == DType::f32) return f(Engine<float, float>(), std::true_type());
  if (storage == DType::bf16) return f(Engine<float, __nv_bfloat16>(), std::true_type());
  if (storage == DType::f16) return f(Engine<float, __half>(), std::true_type());
  return f(Engine<float, Any>(), std::false_type());
}

// Where groups begin: with the counters of the noise.
inline int phase_of(uint64_t element_offset, int width) { return static_cast<int>(element_offset % width); }

template <class E, class Tile, class Arguments>
Status map(Arguments a, const Tensors& tensors, uint64_t element_offset, const Launch& launch) {
  if (a.extent.numel() == 0) return nullptr;
  a.extent = flattened(a.extent, tensors);
  const Plan plan = make_plan(a.extent, E::width, phase_of(element_offset, E::width));
  return start(plan.blocks, launch, map_kernel<E, Tile, Arguments>, a, plan);
}

template <class E, class Tile, int kLosses, class Arguments>
Status reduce(Arguments a, const Loss* const (&losses)[kLosses], const Tensors& tensors, uint64_t element_offset,
              const Launch& launch) {
  if (a.extent.numel() == 0) return nullptr;
  if (losses[0]->reduction != Reduction::event) a.extent = flattened(a.extent, tensors);
  const Plan plan = make_plan(a.extent, E::width, phase_of(element_offset, E::width));
  Losses<kLosses> copies;
  for (int k = 0; k < kLosses; ++k) copies.loss[k] = *losses[k];
  return start(plan.blocks, launch, reduce_kernel<E, Tile, kLosses, Arguments>, a, plan, copies,
               Meeting{launch.workspace, launch.ticket});
}

}  // namespace genkern::cuda
