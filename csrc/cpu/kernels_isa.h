// The kernels of one instruction set and their table.
#pragma once

#define GK_BACKEND GENKERN_ISA
#include "backend.h"
#include "cpu/ema.h"
#include "cpu/launch.h"
#include "cpu/mixture.h"
#include "cpu/mmd.h"
#include "cpu/random.h"
#include "tiles/discrete.h"
#include "tiles/gan.h"
#include "tiles/gaussian.h"
#include "tiles/hierarchical.h"
#include "tiles/likelihood.h"
#include "tiles/logistic_mixture.h"
#define GK_KERNELS "kernels.def"
#include "launches/define.h"

namespace genkern {
extern const Kernels GENKERN_TABLE;
const Kernels GENKERN_TABLE = GENKERN_ISA::make_kernels(GENKERN_ISA_NAME, workspace_size);
}  // namespace genkern
