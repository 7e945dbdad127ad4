// Autograd for every operation, written once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace genkern {

// genkern::<name> becomes differentiable in the arguments of these indices, by genkern::<name>_backward, or by
// genkern::<name>_vjp where the gradient is to be differentiated again. So does its overload `draw`, if it has one,
// which takes a generator where the op takes key and eps, and returns the key behind the op's results. Where backward
// has more arguments than the gradients, the op's own and the mask, they are the op's first results.
void register_autograd(const std::string& name, const std::vector<int64_t>& differentiable);

}  // namespace genkern
