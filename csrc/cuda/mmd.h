// The maximum mean discrepancy on a GPU, for the table in dispatch.cpp.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

int64_t mmd_forward_workspace(const MmdForward& a);
int64_t mmd_backward_workspace(const MmdBackward& a);
Status mmd_forward(const MmdForward& a, const Launch& launch);
Status mmd_backward(const MmdBackward& a, const Launch& launch);

}  // namespace genkern::cuda
