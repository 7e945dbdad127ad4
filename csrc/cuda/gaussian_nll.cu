// The Gaussian and Laplace likelihoods and the Gaussian entropy on a GPU.
#include "cuda/gaussian.h"
#include "cuda/nll.cuh"

namespace genkern::cuda {

Status gaussian_nll_forward(const LocScaleNllForward& x, const Launch& launch) {
  return nll_forward<NllForward>(x, launch);
}

Status gaussian_nll_backward(const LocScaleNllBackward& x, const Launch& launch) {
  return nll_backward<NllBackward>(x, launch);
}

Status laplace_nll_forward(const LocScaleNllForward& x, const Launch& launch) {
  return nll_forward<LaplaceForward>(x, launch);
}

Status laplace_nll_backward(const LocScaleNllBackward& x, const Launch& launch) {
  return nll_backward<LaplaceBackward>(x, launch);
}

Status gaussian_entropy_forward(const GaussianEntropyForward& x, const Launch& launch) {
  const Operand entropy = elementwise(x.entropy);
  const Tensors tensors{{&x.scale}, {&entropy}};
  return with_engine(x, x.entropy.reduction == Reduction::event, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = decltype(engine);
    return reduce<E, EntropyForward<E, decltype(plain)::value>>(a, {&a.entropy}, 0, launch);
  });
}

Status gaussian_entropy_backward(const GaussianEntropyBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.scale, &x.d_scale}, {&x.grad}};
  return with_engine(x, false, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = decltype(engine);
    return map<E, EntropyBackward<E, decltype(plain)::value>>(a, 0, launch);
  });
}

}  // namespace genkern::cuda
