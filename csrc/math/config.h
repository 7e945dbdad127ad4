// What every header of formulas and tiles needs: one spelling for "inline", on host and device (GK_INLINE) or where the
// kernels run (GK_DEVICE), and for unrolling.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define GK_INLINE __host__ __device__ __forceinline__
#define GK_DEVICE __device__ __forceinline__
#else
#define GK_INLINE inline __attribute__((always_inline))
#define GK_DEVICE GK_INLINE
#endif

// GK_UNROLL: a short loop of known length. GK_TILE: the loop over a tile, whose elements are registers on a GPU and an
// array on the CPU. GK_NO_UNROLL: a loop whose body a GPU's compiler shall not copy.
#if defined(__CUDA_ARCH__)
#define GK_UNROLL _Pragma("unroll")
#define GK_TILE _Pragma("unroll")
#define GK_NO_UNROLL _Pragma("unroll 1")
#elif defined(__CUDACC__)
#define GK_UNROLL  // nvcc's pass over the host's code knows neither spelling
#define GK_TILE
#define GK_NO_UNROLL
#else
#define GK_UNROLL _Pragma("GCC unroll 32")
#define GK_TILE
#define GK_NO_UNROLL
#endif

namespace genkern {

// The type of one value of F: F itself, or what a vector type says of its lanes.
template <class F>
struct Scalar {
  using type = F;
};
template <class F>
using scalar_t = typename Scalar<F>::type;

}  // namespace genkern
