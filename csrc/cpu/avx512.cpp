#include "cpu/avx512.h"

#ifdef GENKERN_ISA
#include "cpu/table.h"
#endif
