// The mixture of discretized logistics: launches on a GPU.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

Status logistic_mixture_forward(const LogisticMixtureForward& a, const Launch& launch);
Status logistic_mixture_backward(const LogisticMixtureBackward& a, const Launch& launch);

}  // namespace genkern::cuda
