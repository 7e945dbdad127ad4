// Samples of a Gaussian and its divergence on a GPU.
#include "cuda/gaussian.h"
#include "cuda/launch.cuh"
#include "tiles/gaussian.h"

namespace genkern::cuda {

Status gaussian_head_forward(const GaussianHeadForward& x, const Launch& launch) {
  const Operand kl = elementwise(x.kl);
  const Tensors tensors{{&x.loc, &x.scale, &x.prior_loc, &x.prior_scale, &x.noise.eps, &x.z}, {&kl}};
  return with_engine(x, x.kl.reduction == Reduction::event, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = decltype(engine);
    using Sample = SampleForward<E, decltype(plain)::value>;
    const uint64_t offset = a.noise.element_offset;
    if (a.samples == 0) return reduce<E, KlForward<E, decltype(plain)::value>>(a, {&a.kl}, 0, launch);
    return a.divergence ? reduce<E, Sample>(a, {&a.kl}, offset, launch) : map<E, Sample>(a, offset, launch);
  });
}

Status gaussian_head_backward(const GaussianHeadBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.loc, &x.scale, &x.prior_loc, &x.prior_scale, &x.noise.eps, &x.grad_z, &x.d_loc, &x.d_scale,
                         &x.d_prior_loc, &x.d_prior_scale, &x.d_eps},
                        {&x.grad_kl}};
  return with_engine(x, false, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = typename Half<decltype(engine)>::type;
    return map<E, HeadBackward<E, decltype(plain)::value>>(a, a.noise.element_offset, launch);
  });
}

}  // namespace genkern::cuda
