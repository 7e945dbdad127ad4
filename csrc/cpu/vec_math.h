// The functions of math/elementary.h on vectors.
#pragma once

#include "cpu/vec.h"
#include "math/normal.h"
#include "math/numeric.h"

namespace genkern::GENKERN_ISA {

GENKERN_ELEMENTARY(F32)
GENKERN_ELEMENTARY(F64)

}  // namespace genkern::GENKERN_ISA
