// The GPU's loops. A family (gaussian.cu) only says what happens to an element; the engine owns indexing, storage
// types and sums. A thread takes runs of kGroup elements, the normals of one Philox counter.
//
// So far: one block a row, in a fixed order, for elementwise results, sums over rows and one sum over all, in one
// launch. docs/gpu-verification.md says what has run on a GPU.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "kernels.h"

namespace genkern::cuda {

inline constexpr int kThreads = 256;
inline constexpr int kGroup = 4;

template <class T>
__device__ T load(const Operand& o, int64_t index) {
  switch (o.dtype) {
    case DType::f32:
      return static_cast<T>(static_cast<const float*>(o.data)[index]);
    case DType::f64:
      return static_cast<T>(static_cast<const double*>(o.data)[index]);
    case DType::bf16:
      return static_cast<T>(__bfloat162float(static_cast<const __nv_bfloat16*>(o.data)[index]));
    case DType::f16:
      return static_cast<T>(__half2float(static_cast<const __half*>(o.data)[index]));
  }
  return T(0);
}

template <class T>
__device__ void store(const Operand& o, int64_t index, T value) {
  switch (o.dtype) {
    case DType::f32:
      static_cast<float*>(o.data)[index] = static_cast<float>(value);
      break;
    case DType::f64:
      static_cast<double*>(o.data)[index] = static_cast<double>(value);
      break;
    case DType::bf16:
      static_cast<__nv_bfloat16*>(o.data)[index] = __float2bfloat16(static_cast<float>(value));
      break;
    case DType::f16:
      static_cast<__half*>(o.data)[index] = __float2half(static_cast<float>(value));
      break;
  }
}

// Where an element lies in the extent, and so in each operand.
struct Place {
  int64_t row, run, elem;

  // An event has fewer than 2^31 elements (checked at the launch); rows may be more.
  __device__ Place(const Extent& e, int64_t row, uint32_t column) : row(row) {
    run = e.runs == 1 ? 0 : column / static_cast<uint32_t>(e.length);
    elem = column - static_cast<uint32_t>(run) * static_cast<uint32_t>(e.length);
  }
  __device__ int64_t in(const Operand& o) const { return row * o.row + run * o.run + elem * o.elem; }
};

// The sum over a block, in thread 0; the same order every time.
template <class T>
__device__ T block_sum(T value) {
  __shared__ T warps[kThreads / 32];
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xFFFFFFFFu, value, offset);
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x >= 32) return T(0);
  value = threadIdx.x < kThreads / 32 ? warps[threadIdx.x] : T(0);
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xFFFFFFFFu, value, offset);
  return value;
}

// The one sum over all: each block leaves its part, the last to finish adds them in order. `ticket` is 0 before
// the launch and after it.
struct Total {
  double* parts;  // [gridDim.x]
  unsigned* ticket;
};

__device__ inline bool last_block(unsigned* ticket) {
  __shared__ bool last;
  __threadfence();
  if (threadIdx.x == 0) last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  __syncthreads();
  if (last) __threadfence();
  return last;
}

// element(row, column, place): the value of an element.
template <class T, class Element>
__device__ void reduce(const Extent& extent, const Loss& loss, Total total, Element element) {
  const auto event = static_cast<uint32_t>(extent.event());
  double part = 0.0;
  for (int64_t row = blockIdx.x; row < extent.rows; row += gridDim.x) {
    T sum = T(0);
    for (uint32_t column = kGroup * threadIdx.x; column < event; column += kGroup * kThreads) {
#pragma unroll 1
      for (uint32_t c = column; c < event && c - column < kGroup; ++c) {
        const Place place(extent, row, c);
        const T value = element(row, c, place);
        if (loss.reduction == Reduction::none) {
          store(loss.out, place.in(loss.out), value * static_cast<T>(loss.factor));
        } else {
          sum += value;
        }
      }
    }
    if (loss.reduction == Reduction::none) continue;
    const T row_sum = block_sum(sum);
    if (threadIdx.x != 0) continue;
    if (loss.reduction == Reduction::event) {
      static_cast<T*>(loss.out.data)[row] = static_cast<T>(static_cast<double>(row_sum) * loss.factor);
    } else {
      part += static_cast<double>(row_sum);
    }
  }
  if (loss.reduction != Reduction::total) return;
  if (threadIdx.x == 0) total.parts[blockIdx.x] = part;
  if (!last_block(total.ticket)) return;
  double sum = 0.0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads) sum += total.parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    static_cast<T*>(loss.out.data)[0] = static_cast<T>(sum * loss.factor);
    *total.ticket = 0;
  }
}

// Blocks of a launch over the rows; `Total::parts` has as many.
inline int blocks(const Extent& extent) {
  constexpr int64_t most = 4096;
  return static_cast<int>(extent.rows < most ? extent.rows : most);
}

}  // namespace genkern::cuda
