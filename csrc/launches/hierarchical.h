// The residual head of a hierarchical VAE: which driver runs which tile.
#pragma once

#include "tiles/hierarchical.h"

namespace genkern::GK_BACKEND {

Status gaussian_residual_forward(const GaussianResidualForward& a, const Launch& launch) {
  return reduce<GaussianResidualForwardTile>(a, {&a.kl, &a.log_q, &a.log_p}, launch);
}

Status gaussian_residual_backward(const GaussianResidualBackward& a, const Launch& launch) {
  return map<GaussianResidualBackwardTile>(a, launch);
}

}  // namespace genkern::GK_BACKEND
