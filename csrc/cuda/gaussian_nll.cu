// The Gaussian likelihood and entropy on a GPU.
#include "cuda/gaussian.h"
#include "cuda/launch.cuh"
#include "tiles/gaussian.h"

namespace genkern::cuda {

Status gaussian_nll_forward(const GaussianNllForward& a, const Launch& launch) {
  const Operand each = elementwise(a.nll);
  const Tensors tensors{{&a.x, &a.loc, &a.scale}, {&each}};
  return with_engine(a.wide, is_plain(a), tensors, [&](auto engine, auto plain) {
    using E = decltype(engine);
    return reduce<E, NllForward<E, decltype(plain)::value>>(a, {&a.nll}, tensors, 0, launch);
  });
}

Status gaussian_nll_backward(const GaussianNllBackward& a, const Launch& launch) {
  const Tensors tensors{{&a.x, &a.loc, &a.scale, &a.d_x, &a.d_loc, &a.d_scale}, {&a.grad}};
  return with_engine(a.wide, is_plain(a), tensors, [&](auto engine, auto plain) {
    using E = decltype(engine);
    using Tile = NllBackward<E, decltype(plain)::value>;
    return a.d_scale_sum.out ? reduce<E, Tile>(a, {&a.d_scale_sum}, tensors, 0, launch)
                             : map<E, Tile>(a, tensors, 0, launch);
  });
}

Status gaussian_entropy_forward(const GaussianEntropyForward& a, const Launch& launch) {
  const Operand each = elementwise(a.entropy);
  const Tensors tensors{{&a.scale}, {&each}};
  return with_engine(a.wide, is_plain(a), tensors, [&](auto engine, auto plain) {
    using E = decltype(engine);
    return reduce<E, EntropyForward<E, decltype(plain)::value>>(a, {&a.entropy}, tensors, 0, launch);
  });
}

Status gaussian_entropy_backward(const GaussianEntropyBackward& a, const Launch& launch) {
  const Tensors tensors{{&a.scale, &a.d_scale}, {&a.grad}};
  return with_engine(a.wide, is_plain(a), tensors, [&](auto engine, auto plain) {
    using E = decltype(engine);
    return map<E, EntropyBackward<E, decltype(plain)::value>>(a, tensors, 0, launch);
  });
}

}  // namespace genkern::cuda
