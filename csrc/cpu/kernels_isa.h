// The table of one instruction set's kernels.
#pragma once

#include "cpu/gaussian.h"
#include "cpu/hierarchical.h"
#include "cpu/random.h"

namespace genkern::GENKERN_ISA {

inline constexpr Kernels kKernels = {
    GENKERN_ISA_NAME,
    workspace_size,
    key_split,
    random_fill,
    gaussian_head_forward,
    gaussian_head_backward,
    gaussian_residual_forward,
    gaussian_residual_backward,
    gaussian_nll_forward,
    gaussian_nll_backward,
    gaussian_entropy_forward,
    gaussian_entropy_backward,
};

}  // namespace genkern::GENKERN_ISA

namespace genkern {
extern const Kernels GENKERN_TABLE;
const Kernels GENKERN_TABLE = GENKERN_ISA::kKernels;
}  // namespace genkern
