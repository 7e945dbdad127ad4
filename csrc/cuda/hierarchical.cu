// The residual head of a hierarchical VAE on a GPU.
#include "cuda/hierarchical.h"

#include "cuda/launch.cuh"
#include "tiles/hierarchical.h"

namespace genkern::cuda {

Status gaussian_residual_forward(const GaussianResidualForward& a, const Launch& launch) {
  const Operand kl = elementwise(a.kl), log_q = elementwise(a.log_q), log_p = elementwise(a.log_p);
  const Tensors tensors{{&a.prior_loc, &a.prior_scale, &a.delta_loc, &a.delta_scale, &a.noise.eps, &a.z},
                        {&kl, &log_q, &log_p}};
  return with_engine(a.wide, is_plain(a), tensors, [&](auto engine, auto plain) {
    using E = decltype(engine);
    using Tile = ResidualForward<E, decltype(plain)::value>;
    return reduce<E, Tile>(a, {&a.kl, &a.log_q, &a.log_p}, tensors, a.noise.element_offset, launch);
  });
}

Status gaussian_residual_backward(const GaussianResidualBackward& a, const Launch& launch) {
  const Tensors tensors{{&a.prior_loc, &a.prior_scale, &a.delta_loc, &a.delta_scale, &a.noise.eps, &a.grad_z,
                         &a.d_prior_loc, &a.d_prior_scale, &a.d_delta_loc, &a.d_delta_scale, &a.d_eps},
                        {&a.grad_kl, &a.grad_log_q, &a.grad_log_p}};
  return with_engine(a.wide, is_plain(a), tensors, [&](auto engine, auto plain) {
    using E = typename Half<decltype(engine)>::type;
    return map<E, ResidualBackward<E, decltype(plain)::value>>(a, tensors, a.noise.element_offset, launch);
  });
}

}  // namespace genkern::cuda
