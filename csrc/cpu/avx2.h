// What follows is compiled for AVX2.
#include "cpu/chunks.h"
#include "cpu/system.h"

#if defined(__x86_64__)
#define GENKERN_ISA avx2
#define GENKERN_ISA_NAME "avx2"
#define GENKERN_TABLE kAvx2
#define GENKERN_VECTOR_BYTES 32
#define GENKERN_FEATURES "avx2,fma,bmi2,f16c"
#define GK_BACKEND GENKERN_ISA
#include "cpu/begin.h"
#endif
