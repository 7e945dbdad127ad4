#include "cpu/avx2.h"

#ifdef GENKERN_ISA
#include "cpu/table.h"
#include "cpu/end.h"
#endif
