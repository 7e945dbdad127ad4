// Sums of tensors in one order, whatever the number of threads: what torch's own, which splits a sum among them, do not
// promise.
#pragma once

#include <ATen/core/Tensor.h>

namespace genkern {

// target = source, summed over the dimensions along which the target was broadcast to its shape.
void sum_into(const at::Tensor& target, const at::Tensor& source);

}  // namespace genkern
