// The table of one instruction set's kernels.
#pragma once

#include "cpu/discrete.h"
#include "cpu/ema.h"
#include "cpu/gan.h"
#include "cpu/gaussian.h"
#include "cpu/hierarchical.h"
#include "cpu/likelihood.h"
#include "cpu/logistic_mixture.h"
#include "cpu/mixture.h"
#include "cpu/mmd.h"
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
    laplace_nll_forward,
    laplace_nll_backward,
    gaussian_entropy_forward,
    gaussian_entropy_backward,
    gaussian_mixture_forward_workspace,
    gaussian_mixture_backward_workspace,
    gaussian_mixture_forward,
    gaussian_mixture_backward,
    bernoulli_nll_forward,
    bernoulli_nll_backward,
    discretized_gaussian_nll_forward,
    discretized_gaussian_nll_backward,
    logistic_mixture_forward,
    logistic_mixture_backward,
    discrete_forward,
    discrete_backward,
    categorical_forward,
    categorical_backward,
    gumbel_softmax_forward,
    gumbel_softmax_backward,
    mmd_forward_workspace,
    mmd_backward_workspace,
    mmd_forward,
    mmd_backward,
    gan_loss_forward,
    gan_loss_backward,
    interpolate_forward,
    interpolate_backward,
    squared_norm,
    centered_norm,
    norm_backward,
    group_stddev_forward,
    group_stddev_backward,
    ema_update,
};

}  // namespace genkern::GENKERN_ISA

namespace genkern {
extern const Kernels GENKERN_TABLE;
const Kernels GENKERN_TABLE = GENKERN_ISA::kKernels;
}  // namespace genkern
