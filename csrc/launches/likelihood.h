// Likelihoods of data: which driver runs which tile.
#pragma once

#include "tiles/likelihood.h"

namespace genkern::GK_BACKEND {

Status laplace_nll_forward(const LocScaleNllForward& a, const Launch& launch) {
  return reduce<LaplaceNllForwardTile>(a, {&a.nll}, launch);
}

Status laplace_nll_backward(const LocScaleNllBackward& a, const Launch& launch) {
  return a.d_scale_sum.out ? reduce<LaplaceNllBackwardTile>(a, {&a.d_scale_sum}, launch)
                           : map<LaplaceNllBackwardTile>(a, launch);
}

Status bernoulli_nll_forward(const BernoulliNllForward& a, const Launch& launch) {
  return reduce<BernoulliNllForwardTile>(a, {&a.nll}, launch);
}

Status bernoulli_nll_backward(const BernoulliNllBackward& a, const Launch& launch) {
  return map<BernoulliNllBackwardTile>(a, launch);
}

Status discretized_gaussian_nll_forward(const LocScaleNllForward& a, const Launch& launch) {
  return reduce<DiscretizedGaussianNllForwardTile>(a, {&a.nll}, launch);
}

Status discretized_gaussian_nll_backward(const LocScaleNllBackward& a, const Launch& launch) {
  return a.d_scale_sum.out ? reduce<DiscretizedGaussianNllBackwardTile>(a, {&a.d_scale_sum}, launch)
                           : map<DiscretizedGaussianNllBackwardTile>(a, launch);
}

}  // namespace genkern::GK_BACKEND
