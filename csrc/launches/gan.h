// The GAN family: which driver runs which tile.
#pragma once

#include "tiles/gan.h"

namespace genkern::GK_BACKEND {

Status gan_loss_forward(const GanLossForward& a, const Launch& launch) {
  return reduce<GanLossForwardTile>(a, {&a.loss}, launch);
}

Status gan_loss_backward(const GanLossBackward& a, const Launch& launch) { return map<GanLossBackwardTile>(a, launch); }

Status interpolate_forward(const InterpolateForward& a, const Launch& launch) {
  return map<InterpolateForwardTile>(a, launch);
}

Status interpolate_backward(const InterpolateBackward& a, const Launch& launch) {
  return a.d_eps.out ? reduce<InterpolateBackwardTile>(a, {&a.d_eps}, launch) : map<InterpolateBackwardTile>(a, launch);
}

Status squared_norm(const SquaredNorm& a, const Launch& launch) {
  return reduce<SquaredNormTile>(a, {&a.squares}, launch);
}

Status centered_norm(const CenteredNorm& a, const Launch& launch) {
  return reduce<CenteredNormTile>(a, {&a.penalty}, launch);
}

Status norm_backward(const NormBackward& a, const Launch& launch) { return map<NormBackwardTile>(a, launch); }

Status minibatch_stddev_forward(const MinibatchStddevForward& a, const Launch& launch) {
  return reduce<MinibatchStddevForwardTile>(a, {&a.stddev}, launch);
}

Status minibatch_stddev_backward(const MinibatchStddevBackward& a, const Launch& launch) {
  return map<MinibatchStddevBackwardTile>(a, launch);
}

}  // namespace genkern::GK_BACKEND
