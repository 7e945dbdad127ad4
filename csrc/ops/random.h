// Keys.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels.h"

namespace genkern {

// On the CPU, or where the noise is wanted.
void check_key(const at::Tensor& key, const at::Device& device);

// By value from the CPU; a key on a GPU is read there.
KeySource key_source(const at::Tensor& key);

// A fresh key: what a launch is given, and the tensor that holds it once the launch is over.
struct Reserved {
  KeySource source;
  at::Tensor key;
};
Reserved reserve(const std::optional<at::Generator>& generator, const at::Device& device);

}  // namespace genkern
