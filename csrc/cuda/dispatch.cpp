#include "cuda/dispatch.h"

#include "cuda/plan.h"

namespace genkern {

const Kernels& cuda_kernels() {
  static constexpr Kernels kernels = cuda::make_kernels("cuda", false, cuda::workspace_size);
  return kernels;
}

}  // namespace genkern
