// Samples of a Gaussian and its divergence: which driver runs which tile.
#pragma once

#include "tiles/gaussian.h"

namespace genkern::GK_BACKEND {

Status gaussian_head_forward(const GaussianHeadForward& a, const Launch& launch) {
  if (a.samples == 0) return reduce<GaussianKlForwardTile>(a, {&a.kl}, launch);
  if (!a.divergence) return map<GaussianSampleForwardTile>(a, launch);
  return reduce<GaussianSampleForwardTile>(a, {&a.kl}, launch);
}

Status gaussian_head_backward(const GaussianHeadBackward& a, const Launch& launch) {
  return map<GaussianHeadBackwardTile>(a, launch);
}

}  // namespace genkern::GK_BACKEND
