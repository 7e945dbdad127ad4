// What follows is compiled for AVX2.
#include "cpu/chunks.h"
#include "cpu/system.h"

#if defined(__x86_64__)
#pragma GCC target("avx2,fma,bmi2,f16c")
#define GENKERN_ISA avx2
#define GENKERN_ISA_NAME "avx2"
#define GENKERN_TABLE kAvx2
#define GENKERN_VECTOR_BYTES 32
#define GK_BACKEND GENKERN_ISA
#endif
