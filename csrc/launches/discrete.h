// The discrete family: which driver runs which tile.
#pragma once

#include "tiles/discrete.h"

namespace genkern::GK_BACKEND {

Status discrete_forward(const DiscreteForward& a, const Launch& launch) {
  return reduce<DiscreteForwardTile>(a, {&a.value}, launch);
}

Status discrete_backward(const DiscreteBackward& a, const Launch& launch) {
  return map<DiscreteBackwardTile>(a, launch);
}

Status categorical_forward(const CategoricalForward& a, const Launch& launch) {
  return reduce<CategoricalForwardTile>(a, {&a.value}, launch);
}

Status categorical_backward(const CategoricalBackward& a, const Launch& launch) {
  return map<CategoricalBackwardTile>(a, launch);
}

Status gumbel_softmax_forward(const GumbelSoftmaxForward& a, const Launch& launch) {
  return map<GumbelSoftmaxForwardTile>(a, launch);
}

Status gumbel_softmax_backward(const GumbelSoftmaxBackward& a, const Launch& launch) {
  return map<GumbelSoftmaxBackwardTile>(a, launch);
}

}  // namespace genkern::GK_BACKEND
