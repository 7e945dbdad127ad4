// Keys and noise on a GPU: the launches.
#pragma once

#include "kernels.h"

namespace genkern::cuda {

Status key_split(const KeySplit& a, const Launch& launch);
Status random_fill(const RandomFill& a, const Launch& launch);

}  // namespace genkern::cuda
