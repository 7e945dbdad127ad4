// The Gaussian likelihood and entropy on a GPU.
#include "cuda/gaussian.h"
#include "cuda/launch.cuh"
#include "tiles/gaussian.h"

namespace genkern::cuda {

Status gaussian_nll_forward(const GaussianNllForward& x, const Launch& launch) {
  const Operand nll = elementwise(x.nll);
  const Tensors tensors{{&x.x, &x.loc, &x.scale}, {&nll}};
  return with_engine(x, x.nll.reduction == Reduction::event, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = decltype(engine);
    return reduce<E, NllForward<E, decltype(plain)::value>>(a, {&a.nll}, 0, launch);
  });
}

Status gaussian_nll_backward(const GaussianNllBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.x, &x.loc, &x.scale, &x.d_x, &x.d_loc, &x.d_scale}, {&x.grad}};
  const bool sums = static_cast<bool>(x.d_scale_sum.out);
  return with_engine(x, sums, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = decltype(engine);
    using Tile = NllBackward<E, decltype(plain)::value>;
    return sums ? reduce<E, Tile>(a, {&a.d_scale_sum}, 0, launch) : map<E, Tile>(a, 0, launch);
  });
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
