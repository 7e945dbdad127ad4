// What follows is compiled for NEON, which every 64-bit Arm processor has, fused multiply-add included.
#include "cpu/chunks.h"
#include "cpu/system.h"

#if defined(__aarch64__)
#define GENKERN_ISA neon
#define GENKERN_ISA_NAME "neon"
#define GENKERN_TABLE kNeon
#define GENKERN_VECTOR_BYTES 16
#define GK_BACKEND GENKERN_ISA
#endif
