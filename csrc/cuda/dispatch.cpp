#include "cuda/dispatch.h"

#include "cuda/gaussian.h"
#include "cuda/hierarchical.h"
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
      cuda::gaussian_entropy_forward,
      cuda::gaussian_entropy_backward,
  };
  return kernels;
}

}  // namespace genkern
