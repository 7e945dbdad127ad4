// What a kernel sees of its place: qualifiers, indices, dynamic shared memory; and the calls into src/block.cpp by
// which its threads meet. Those are opaque on purpose: a compiler that sees no definition rereads memory after them.
#pragma once

#include <cstdint>
#include <memory>  // libstdc++ writes __attribute__((__noinline__)), so it has to come before the macro below

#include "emulator/vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __managed__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
// One block runs at a time on an OS thread, so one copy a thread is one copy a block. It holds what the block before
// left there, as on a GPU.
#define __shared__ static thread_local

inline constexpr int warpSize = 32;

#pragma GCC visibility push(hidden)
// Where the running thread is. The scheduler writes it at each switch; launches follow one another (src/launch.cpp),
// so there is one.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace emulator {

// The launch's dynamic shared memory, aligned to 16 bytes, filled with ones (NaN) before each block.
extern void* shared_memory;
inline void* dynamic_shared() { return shared_memory; }

enum class Op : uint8_t {
  syncthreads,
  syncthreads_count,
  syncthreads_and,
  syncthreads_or,
  syncwarp,
  shfl,
  shfl_up,
  shfl_down,
  shfl_xor,
  ballot,
  any,
  all,
};

// Waits for every thread of the block; the number of threads whose predicate holds.
int block_barrier(Op op, bool predicate);

// Waits for the lanes in `mask` to make the same call. A shuffle returns the value of lane `source`, or all ones
// where that lane is not in the mask (undefined in CUDA); a vote returns the lanes whose value is not 0.
uint64_t warp_meeting(Op op, unsigned mask, unsigned source, uint64_t value);

// The lanes of the caller's warp that exist, and of those the ones that have not ended.
unsigned warp_lanes();
unsigned live_lanes();
unsigned lane();
unsigned threads_in_block();

// Ends the launch with an error; `what` names what the thread did.
[[noreturn]] void fail(const char* what);

}  // namespace emulator
#pragma GCC visibility pop
