#include "cuda/dispatch.h"

#include "cuda/discrete.h"
#include "cuda/gan.h"
#include "cuda/gaussian.h"
#include "cuda/hierarchical.h"
#include "cuda/likelihood.h"
#include "cuda/logistic_mixture.h"
#include "cuda/mixture.h"
#include "cuda/mmd.h"
#include "cuda/plan.h"
#include "cuda/random.h"

namespace genkern {

const Kernels& cuda_kernels() {
  static constexpr Kernels kernels = {
      "cuda",
      cuda::workspace_size,
      cuda::key_split,
      cuda::random_fill,
      cuda::gaussian_head_forward,
      cuda::gaussian_head_backward,
      cuda::gaussian_residual_forward,
      cuda::gaussian_residual_backward,
      cuda::gaussian_nll_forward,
      cuda::gaussian_nll_backward,
      cuda::laplace_nll_forward,
      cuda::laplace_nll_backward,
      cuda::gaussian_entropy_forward,
      cuda::gaussian_entropy_backward,
      cuda::gaussian_mixture_forward_workspace,
      cuda::gaussian_mixture_backward_workspace,
      cuda::gaussian_mixture_forward,
      cuda::gaussian_mixture_backward,
      cuda::bernoulli_nll_forward,
      cuda::bernoulli_nll_backward,
      cuda::discretized_gaussian_nll_forward,
      cuda::discretized_gaussian_nll_backward,
      cuda::logistic_mixture_forward,
      cuda::logistic_mixture_backward,
      cuda::discrete_forward,
      cuda::discrete_backward,
      cuda::categorical_forward,
      cuda::categorical_backward,
      cuda::gumbel_softmax_forward,
      cuda::gumbel_softmax_backward,
      cuda::mmd_forward_workspace,
      cuda::mmd_backward_workspace,
      cuda::mmd_forward,
      cuda::mmd_backward,
      cuda::gan_loss_forward,
      cuda::gan_loss_backward,
      cuda::interpolate_forward,
      cuda::interpolate_backward,
      cuda::squared_norm,
      cuda::centered_norm,
      cuda::norm_backward,
      cuda::group_stddev_forward,
      cuda::group_stddev_backward,
      cuda::ema_update,
  };
  return kernels;
}

}  // namespace genkern
