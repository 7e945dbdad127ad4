// Toy kernels, each with one thing to get wrong. The tests call them, plant faults in them by build()'s patches, and
// run them by main.cpp where ThreadSanitizer looks on.
#include <cuda_runtime.h>

#include "launches.h"

namespace {

template <class... P, class... A>
cudaError_t run(dim3 grid, dim3 block, void (*kernel)(P...), A... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

__global__ void indices(unsigned* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  unsigned* mine = out + 6 * (block * blockDim.x * blockDim.y * blockDim.z + thread);
  mine[0] = blockIdx.x, mine[1] = blockIdx.y, mine[2] = blockIdx.z;
  mine[3] = threadIdx.x, mine[4] = threadIdx.y, mine[5] = threadIdx.z;
}

// All lanes of the mask shuffle their lane number plus `base`.
template <class T>
__global__ void shuffle(int kind, unsigned mask, int argument, int width, T base, T* out) {
  const unsigned lane = threadIdx.x % warpSize;
  if ((mask >> lane & 1) == 0) return;
  const T value = base + static_cast<T>(lane);
  T result = value;
  switch (kind) {
    case 0:
      result = __shfl_sync(mask, value, argument, width);
      break;
    case 1:
      result = __shfl_up_sync(mask, value, static_cast<unsigned>(argument), width);
      break;
    case 2:
      result = __shfl_down_sync(mask, value, static_cast<unsigned>(argument), width);
      break;
    case 3:
      result = __shfl_xor_sync(mask, value, argument, width);
      break;
  }
  out[threadIdx.x] = result;
}

__global__ void votes(unsigned mask, unsigned predicates, unsigned* out) {
  const unsigned lane = threadIdx.x % warpSize;
  const int predicate = static_cast<int>(predicates >> lane & 1);
  if ((mask >> lane & 1) == 0) return;
  unsigned* mine = out + 6 * threadIdx.x;
  mine[0] = __ballot_sync(mask, predicate);
  mine[1] = static_cast<unsigned>(__any_sync(mask, predicate));
  mine[2] = static_cast<unsigned>(__all_sync(mask, predicate));
}

__global__ void block_votes(unsigned least, unsigned* out) {
  const int predicate = threadIdx.x >= least;
  out[3 * threadIdx.x] = static_cast<unsigned>(__syncthreads_count(predicate));
  out[3 * threadIdx.x + 1] = static_cast<unsigned>(__syncthreads_or(predicate));
  out[3 * threadIdx.x + 2] = static_cast<unsigned>(__syncthreads_and(predicate));
}

__device__ float warp_sum(float value) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, offset, 32);
  return value;
}

template <int kThreads>
__device__ float block_sum(float value) {
  __shared__ float warps[kThreads / 32];
  value = warp_sum(value);
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
  __syncthreads();
  value = threadIdx.x < kThreads / 32 ? warps[threadIdx.x] : 0.0f;
  return threadIdx.x < 32 ? warp_sum(value) : 0.0f;
}

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads) row_sums(const float* x, unsigned columns, float* out) {
  float sum = 0.0f;
  for (unsigned c = threadIdx.x; c < columns; c += kThreads) sum += x[blockIdx.x * columns + c];
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// Each block leaves its part; the last adds them up.
__global__ void total(const float* x, unsigned n, float* parts, unsigned* ticket, float* out) {
  const unsigned i = blockIdx.x * kThreads + threadIdx.x;
  const float part = block_sum<kThreads>(i < n ? x[i] : 0.0f);
  __shared__ bool last;
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = part;
    __threadfence();
    last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  float sum = 0.0f;
  for (unsigned b = threadIdx.x; b < gridDim.x; b += kThreads) sum += parts[b];
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *out = sum;
}

// Reversed within each warp, through dynamic shared memory.
__global__ void reverse(const int* in, int* out, unsigned n) {
  auto* const memory = static_cast<int*>(emulator::dynamic_shared());
  const unsigned lane = threadIdx.x % 32, first = threadIdx.x - lane;
  if (threadIdx.x < n) memory[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  if (threadIdx.x < n) out[threadIdx.x] = memory[first + 31 - lane];
}

__global__ void fill(int* out, unsigned n) {
  if (threadIdx.x < n) out[threadIdx.x] = static_cast<int>(threadIdx.x);
}

__global__ void copy4(const float4* in, float4* out) { out[threadIdx.x] = in[threadIdx.x]; }

template <class T>
__global__ void count(T* sum, unsigned* extremes, int* wrapped) {
  atomicAdd(sum, T(1));
  const unsigned thread = blockIdx.x * blockDim.x + threadIdx.x;
  atomicMax(&extremes[0], thread);
  atomicMin(&extremes[1], thread);
  atomicOr(&extremes[2], 1u << threadIdx.x % 32);
  atomicAnd(&extremes[3], ~(1u << threadIdx.x % 32));
  atomicCAS(&extremes[4], 0u, thread + 1);
  atomicAdd(wrapped, 0x7FFFFFFF);
}

__global__ void ragged(int kind) {
  const unsigned x = threadIdx.x;
  switch (kind) {
    case 0:  // some have ended
      if (x >= 40) return;
      __syncthreads();
      break;
    case 1:  // some wait elsewhere
      if (x < 32) {
        __syncthreads();
      } else {
        __syncwarp(x == 32 ? 0x3u : 0xFFFFFFFFu);
      }
      break;
    case 2:  // a mask that names a lane that has ended
      if (x % 32 == 5) return;
      __shfl_sync(0xFFFFFFFFu, 1, 0);
      break;
    case 3:  // a mask without the caller
      __ballot_sync(0xFu, 1);
      break;
    case 4:
      __shfl_sync(0xFFFFFFFFu, 1, 0, 24);
      break;
    case 5:  // two kinds of one barrier
      x < 32 ? __syncthreads_or(1) : __syncthreads_and(1);
      break;
  }
}

__global__ void nothing() {}

}  // namespace

extern "C" {

int run_indices(const unsigned* grid, const unsigned* block, unsigned* out) {
  return run(dim3(grid[0], grid[1], grid[2]), dim3(block[0], block[1], block[2]), indices, out);
}
int run_nothing(const unsigned* grid, const unsigned* block, size_t shared) {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(grid[0], grid[1], grid[2]);
  config.blockDim = dim3(block[0], block[1], block[2]);
  config.dynamicSmemBytes = shared;
  return cudaLaunchKernelEx(&config, nothing);
}
int allow_nothing(int bytes) {
  return cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}
int shuffle_i32(int threads, int kind, unsigned mask, int argument, int width, int* out) {
  return run(1, threads, shuffle<int>, kind, mask, argument, width, -5, out);
}
int shuffle_u32(int threads, int kind, unsigned mask, int argument, int width, unsigned* out) {
  return run(1, threads, shuffle<unsigned>, kind, mask, argument, width, 0xFFFFFF00u, out);
}
int shuffle_i64(int threads, int kind, unsigned mask, int argument, int width, long long* out) {
  return run(1, threads, shuffle<long long>, kind, mask, argument, width, -(1ll << 40), out);
}
int shuffle_f32(int threads, int kind, unsigned mask, int argument, int width, float* out) {
  return run(1, threads, shuffle<float>, kind, mask, argument, width, 0.5f, out);
}
int shuffle_f64(int threads, int kind, unsigned mask, int argument, int width, double* out) {
  return run(1, threads, shuffle<double>, kind, mask, argument, width, 0x1p40, out);
}
int run_votes(int threads, unsigned mask, unsigned predicates, unsigned* out) {
  return run(1, threads, votes, mask, predicates, out);
}
int run_block_votes(int threads, unsigned least, unsigned* out) { return run(1, threads, block_votes, least, out); }
int run_row_sums(unsigned rows, unsigned columns, const float* x, float* out) {
  return run(rows, kThreads, row_sums, x, columns, out);
}
int run_total(unsigned n, const float* x, float* parts, unsigned* ticket, float* out) {
  return run((n + kThreads - 1) / kThreads, kThreads, total, x, n, parts, ticket, out);
}
int run_reverse(unsigned n, const int* in, int* out) {
  cudaLaunchConfig_t config{};
  config.blockDim = (n + 31) / 32 * 32;
  config.dynamicSmemBytes = n * sizeof(int);
  return cudaLaunchKernelEx(&config, reverse, in, out, n);
}
int run_fill(unsigned n, int* out) { return run(1, 64, fill, out, n); }
int run_copy4(int n, const void* in, void* out) {
  return run(1, n, copy4, static_cast<const float4*>(in), static_cast<float4*>(out));
}
int count_i32(int* sum, unsigned* extremes, int* wrapped) { return run(3, 64, count<int>, sum, extremes, wrapped); }
int count_u64(unsigned long long* sum, unsigned* extremes, int* wrapped) {
  return run(3, 64, count<unsigned long long>, sum, extremes, wrapped);
}
int count_f32(float* sum, unsigned* extremes, int* wrapped) { return run(3, 64, count<float>, sum, extremes, wrapped); }
int count_f64(double* sum, unsigned* extremes, int* wrapped) {
  return run(3, 64, count<double>, sum, extremes, wrapped);
}
int run_ragged(int kind) { return run(1, 64, ragged, kind); }
const char* failure() { return emulator::last_failure(); }
int last_error() { return cudaGetLastError(); }

}  // extern "C"
