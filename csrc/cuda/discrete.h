// The discrete family's launches on a GPU.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

Status discrete_forward(const DiscreteForward& a, const Launch& launch);
Status discrete_backward(const DiscreteBackward& a, const Launch& launch);
Status categorical_forward(const CategoricalForward& a, const Launch& launch);
Status categorical_backward(const CategoricalBackward& a, const Launch& launch);
Status gumbel_softmax_forward(const GumbelSoftmaxForward& a, const Launch& launch);
Status gumbel_softmax_backward(const GumbelSoftmaxBackward& a, const Launch& launch);

}  // namespace genkern::cuda
