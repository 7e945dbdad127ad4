// Samples of a Gaussian and its divergence on a GPU.
#include "cuda/gaussian.h"
#include "cuda/launch.cuh"
#include "tiles/gaussian.h"

namespace genkern::cuda {

Status gaussian_head_forward(const GaussianHeadForward& a, const Launch& launch) {
  const Operand each_kl = elementwise(a.kl);
  const Tensors tensors{{&a.loc, &a.scale, &a.prior_loc, &a.prior_scale, &a.noise.eps, &a.z}, {&each_kl}};
  return with_engine(a.wide, is_plain(a), tensors, [&](auto engine, auto plain) {
    using E = decltype(engine);
    using Sample = SampleForward<E, decltype(plain)::value>;
    if (a.samples == 0) return reduce<E, KlForward<E, decltype(plain)::value>>(a, {&a.kl}, tensors, 0, launch);
    return a.divergence ? reduce<E, Sample>(a, {&a.kl}, tensors, a.noise.element_offset, launch)
                        : map<E, Sample>(a, tensors, a.noise.element_offset, launch);
  });
}

Status gaussian_head_backward(const GaussianHeadBackward& a, const Launch& launch) {
  const Tensors tensors{{&a.loc, &a.scale, &a.prior_loc, &a.prior_scale, &a.noise.eps, &a.grad_z, &a.d_loc, &a.d_scale,
                         &a.d_prior_loc, &a.d_prior_scale, &a.d_eps},
                        {&a.grad_kl}};
  return with_engine(a.wide, is_plain(a), tensors, [&](auto engine, auto plain) {
    using E = decltype(engine);
    return map<E, HeadBackward<E, decltype(plain)::value>>(a, tensors, a.noise.element_offset, launch);
  });
}

}  // namespace genkern::cuda
