// What follows is compiled for any machine of the architecture (SSE2 on x86-64).
#include "cpu/chunks.h"
#include "cpu/system.h"

#if !defined(__aarch64__)
#define GENKERN_ISA baseline
#define GENKERN_ISA_NAME "baseline"
#define GENKERN_TABLE kBaseline
#define GENKERN_VECTOR_BYTES 16
#define GK_BACKEND GENKERN_ISA
#endif
