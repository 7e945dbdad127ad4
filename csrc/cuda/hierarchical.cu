// The residual head of a hierarchical VAE on a GPU.
#include "cuda/hierarchical.h"

#include "cuda/launch.cuh"
#include "tiles/hierarchical.h"

namespace genkern::cuda {

Status gaussian_residual_forward(const GaussianResidualForward& x, const Launch& launch) {
  const Operand kl = elementwise(x.kl), log_q = elementwise(x.log_q), log_p = elementwise(x.log_p);
  const Tensors tensors{{&x.prior_loc, &x.prior_scale, &x.delta_loc, &x.delta_scale, &x.noise.eps, &x.z},
                        {&kl, &log_q, &log_p}};
  return with_engine(x, x.kl.reduction == Reduction::event, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = decltype(engine);
    using Tile = ResidualForward<E, decltype(plain)::value>;
    return reduce<E, Tile>(a, {&a.kl, &a.log_q, &a.log_p}, a.noise.element_offset, launch);
  });
}

Status gaussian_residual_backward(const GaussianResidualBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.prior_loc, &x.prior_scale, &x.delta_loc, &x.delta_scale, &x.noise.eps, &x.grad_z,
                         &x.d_prior_loc, &x.d_prior_scale, &x.d_delta_loc, &x.d_delta_scale, &x.d_eps},
                        {&x.grad_kl, &x.grad_log_q, &x.grad_log_p}};
  return with_engine(x, false, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = typename Half<decltype(engine)>::type;
    return map<E, ResidualBackward<E, decltype(plain)::value>>(a, a.noise.element_offset, launch);
  });
}

}  // namespace genkern::cuda
