// The GAN family on a GPU.
#include "cuda/gan.h"

#include "cuda/launch.cuh"
#include "tiles/gan.h"

namespace genkern::cuda {

Status gan_loss_forward(const GanLossForward& x, const Launch& launch) {
  const Operand loss = elementwise(x.loss);
  const Tensors tensors{{&x.real, &x.fake}, {&loss}};
  return with_engine(x, false, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return reduce<E, GanLossForwardTile<E>>(a, {&a.loss}, 0, launch);
  });
}

Status gan_loss_backward(const GanLossBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.real, &x.fake, &x.d_real, &x.d_fake}, {&x.grad}};
  return with_engine(x, false, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return map<E, GanLossBackwardTile<E>>(a, 0, launch);
  });
}

Status interpolate_forward(const InterpolateForward& x, const Launch& launch) {
  const Tensors tensors{{&x.real, &x.fake, &x.out}, {}};
  return with_engine(x, true, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return map<E, InterpolateForwardTile<E>>(a, 0, launch);
  });
}

Status interpolate_backward(const InterpolateBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.real, &x.fake, &x.grad, &x.d_real, &x.d_fake}, {}};
  return with_engine(x, true, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    using Tile = InterpolateBackwardTile<E>;
    return a.d_eps.out ? reduce<E, Tile>(a, {&a.d_eps}, 0, launch) : map<E, Tile>(a, 0, launch);
  });
}

Status squared_norm(const SquaredNorm& x, const Launch& launch) {
  const Operand squares = elementwise(x.squares);
  const Tensors tensors{{&x.x}, {&squares}};
  return with_engine(x, x.squares.reduction == Reduction::event, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return reduce<E, SquaredNormTile<E>>(a, {&a.squares}, 0, launch);
  });
}

Status centered_norm(const CenteredNorm& x, const Launch& launch) {
  const Operand penalty = elementwise(x.penalty);
  const Tensors tensors{{}, {&x.squares, &x.norms, &penalty}};
  return with_engine(x, false, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return reduce<E, CenteredNormTile<E>>(a, {&a.penalty}, 0, launch);
  });
}

Status norm_backward(const NormBackward& x, const Launch& launch) {
  const Tensors tensors{{&x.x, &x.d_x}, {&x.grad, &x.norms, &x.grad_norms}};
  return with_engine(x, false, tensors, [&](auto engine, auto, const auto& a) {
    using E = decltype(engine);
    return map<E, NormBackwardTile<E>>(a, 0, launch);
  });
}

}  // namespace genkern::cuda
