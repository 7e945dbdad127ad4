// What every formula header needs: one spelling for "inline, on host and device".
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define GK_INLINE __host__ __device__ __forceinline__
#else
#define GK_INLINE inline __attribute__((always_inline))
#endif

#if defined(__CUDA_ARCH__)
#define GK_UNROLL _Pragma("unroll")
#elif defined(__CUDACC__)
#define GK_UNROLL  // nvcc's pass over the host's code knows neither spelling
#else
#define GK_UNROLL _Pragma("GCC unroll 32")
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
