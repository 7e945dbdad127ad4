// Likelihoods of data on a GPU.
#include "cuda/likelihood.h"

#include "cuda/nll.cuh"
#include "tiles/likelihood.h"

namespace genkern::cuda {

Status bernoulli_nll_forward(const BernoulliNllForward& x, const Launch& launch) {
  const Operand nll = elementwise(x.nll);
  const Tensors tensors{{&x.x, &x.logits}, {&nll}};
  return with_engine(x, x.nll.reduction == Reduction::event, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return reduce<E, BernoulliForward<E>>(a, {&a.nll}, 0, launch);
  });
}

Status bernoulli_nll_backward(const BernoulliNllBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.x, &x.logits, &x.d_x, &x.d_logits}, {&x.grad}};
  return with_engine(x, false, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return map<E, BernoulliBackward<E>>(a, 0, launch);
  });
}

Status discretized_gaussian_nll_forward(const LocScaleNllForward& a, const Launch& launch) {
  return nll_forward<DiscretizedForward>(a, launch);
}

Status discretized_gaussian_nll_backward(const LocScaleNllBackward& a, const Launch& launch) {
  return nll_backward<DiscretizedBackward>(a, launch);
}

}  // namespace genkern::cuda
