// Keys.
#pragma once

#include <ATen/core/Tensor.h>

#include "math/philox.h"

namespace genkern {

void check_key(const at::Tensor& key);
Key read_key(const at::Tensor& key);

}  // namespace genkern
