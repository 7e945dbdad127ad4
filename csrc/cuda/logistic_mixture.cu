// The mixture of discretized logistics on a GPU.
#include "cuda/logistic_mixture.h"

#include "cuda/launch.cuh"
#include "tiles/logistic_mixture.h"

namespace genkern::cuda {
namespace {

// Groups of two: the gradients of three colours under a component are many registers.
template <class E>
struct Pairs;
template <class U, class S, int kWidth>
struct Pairs<Engine<U, S, kWidth>> {
  using type = Engine < U, S, kWidth<2 ? kWidth : 2>;
};

}  // namespace

Status logistic_mixture_forward(const LogisticMixtureForward& x, const Launch& launch) {
  const Operand nll = elementwise(x.nll);
  const Tensors tensors{{&x.x, &x.params}, {&nll}};
  return with_engine(x, x.nll.reduction == Reduction::event, tensors, [&](auto engine, auto, const auto& a) {
    using E = typename Half<decltype(engine)>::type;
    return a.coupled ? reduce<E, RgbMixtureForward<E>>(a, {&a.nll}, 0, launch)
                     : reduce<E, ChannelMixtureForward<E>>(a, {&a.nll}, 0, launch);
  });
}

Status logistic_mixture_backward(const LogisticMixtureBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.x, &x.params, &x.d_x, &x.d_params}, {&x.grad}};
  return with_engine(x, false, tensors, [&](auto engine, auto, const auto& a) {
    using Rgb = typename Pairs<decltype(engine)>::type;
    using E = typename Half<decltype(engine)>::type;
    return a.coupled ? map<Rgb, RgbMixtureBackward<Rgb>>(a, 0, launch)
                     : map<E, ChannelMixtureBackward<E>>(a, 0, launch);
  });
}

}  // namespace genkern::cuda
