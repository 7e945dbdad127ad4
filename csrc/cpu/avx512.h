// What follows is compiled for AVX-512.
#include "cpu/chunks.h"
#include "cpu/system.h"

#if defined(__x86_64__)
#define GENKERN_ISA avx512
#define GENKERN_ISA_NAME "avx512"
#define GENKERN_TABLE kAvx512
#define GENKERN_VECTOR_BYTES 64
#if defined(__clang__)
#define GENKERN_FEATURES "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,fma,bmi2"
#else
#define GENKERN_FEATURES "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,fma,bmi2,prefer-vector-width=512"
#endif
#define GK_BACKEND GENKERN_ISA
#include "cpu/begin.h"
#endif
