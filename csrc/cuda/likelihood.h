// Likelihoods of data: launches on a GPU.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

Status bernoulli_nll_forward(const BernoulliNllForward& a, const Launch& launch);
Status bernoulli_nll_backward(const BernoulliNllBackward& a, const Launch& launch);
Status discretized_gaussian_nll_forward(const LocScaleNllForward& a, const Launch& launch);
Status discretized_gaussian_nll_backward(const LocScaleNllBackward& a, const Launch& launch);

}  // namespace genkern::cuda
