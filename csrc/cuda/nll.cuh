// Likelihoods with a location and a scale on a GPU: which driver runs which tile.
#pragma once

#include "cuda/launch.cuh"
#include "tiles/gaussian.h"

namespace genkern::cuda {

template <template <class, bool> class Tile>
Status nll_forward(const LocScaleNllForward& x, const Launch& launch) {
  const Operand nll = elementwise(x.nll);
  const Tensors tensors{{&x.x, &x.loc, &x.scale}, {&nll}};
  return with_engine(x, x.nll.reduction == Reduction::event, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = decltype(engine);
    return reduce<E, Tile<E, decltype(plain)::value>>(a, {&a.nll}, 0, launch);
  });
}

template <template <class, bool> class Tile>
Status nll_backward(const LocScaleNllBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.x, &x.loc, &x.scale, &x.d_x, &x.d_loc, &x.d_scale}, {&x.grad}};
  const bool sums = static_cast<bool>(x.d_scale_sum.out);
  return with_engine(x, sums, tensors, [&](auto engine, auto plain, const auto& a) {
    using E = decltype(engine);
    using Backward = Tile<E, decltype(plain)::value>;
    return sums ? reduce<E, Backward>(a, {&a.d_scale_sum}, 0, launch) : map<E, Backward>(a, 0, launch);
  });
}

}  // namespace genkern::cuda
