// The table of the kernels of one instruction set, and those that have loops of their own. The tiles are compiled a
// family at a time (scripts/build_plan.py).
#pragma once

#include "backend.h"
#include "cpu/ema.h"
#include "cpu/mixture.h"
#include "cpu/mmd.h"
#include "cpu/random.h"

namespace genkern {
extern const Kernels GENKERN_TABLE;
const Kernels GENKERN_TABLE = GENKERN_ISA::make_kernels(GENKERN_ISA_NAME, true, workspace_size);
}  // namespace genkern
