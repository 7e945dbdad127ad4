// The mixture of discretized logistics: which driver runs which tile.
#pragma once

#include "tiles/logistic_mixture.h"

namespace genkern::GK_BACKEND {

Status logistic_mixture_forward(const LogisticMixtureForward& a, const Launch& launch) {
  return a.coupled ? reduce<RgbLogisticMixtureForwardTile>(a, {&a.nll}, launch)
                   : reduce<ChannelLogisticMixtureForwardTile>(a, {&a.nll}, launch);
}

Status logistic_mixture_backward(const LogisticMixtureBackward& a, const Launch& launch) {
  return a.coupled ? map<RgbLogisticMixtureBackwardTile>(a, launch)
                   : map<ChannelLogisticMixtureBackwardTile>(a, launch);
}

}  // namespace genkern::GK_BACKEND
