// The kernels of one instruction set and their table.
#pragma once

#define GK_BACKEND GENKERN_ISA
#include "backend.h"
#include "cpu/ema.h"
#include "cpu/launch.h"
#include "cpu/mixture.h"
#include "cpu/mmd.h"
#include "cpu/random.h"
#include "launches/discrete.h"
#include "launches/gan.h"
#include "launches/gaussian.h"
#include "launches/gaussian_head.h"
#include "launches/hierarchical.h"
#include "launches/likelihood.h"
#include "launches/logistic_mixture.h"

namespace genkern {
extern const Kernels GENKERN_TABLE;
const Kernels GENKERN_TABLE = GENKERN_ISA::make_kernels(GENKERN_ISA_NAME, workspace_size);
}  // namespace genkern
