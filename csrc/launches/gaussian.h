// The likelihood and the entropy of a Gaussian: which driver runs which tile.
#pragma once

#include "tiles/gaussian.h"

namespace genkern::GK_BACKEND {

Status gaussian_nll_forward(const LocScaleNllForward& a, const Launch& launch) {
  return reduce<GaussianNllForwardTile>(a, {&a.nll}, launch);
}

Status gaussian_nll_backward(const LocScaleNllBackward& a, const Launch& launch) {
  return a.d_scale_sum.out ? reduce<GaussianNllBackwardTile>(a, {&a.d_scale_sum}, launch)
                           : map<GaussianNllBackwardTile>(a, launch);
}

Status gaussian_entropy_forward(const GaussianEntropyForward& a, const Launch& launch) {
  return reduce<GaussianEntropyForwardTile>(a, {&a.entropy}, launch);
}

Status gaussian_entropy_backward(const GaussianEntropyBackward& a, const Launch& launch) {
  return map<GaussianEntropyBackwardTile>(a, launch);
}

}  // namespace genkern::GK_BACKEND
