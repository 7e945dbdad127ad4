// Keys, and where an operation's noise comes from.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <optional>

#include "ops/common.h"

namespace genkern {

using Generator = std::optional<at::Generator>;

// Noise from a key, from eps, or from a key that the launch draws from a generator.
struct NoiseOrigin {
  Tensor key = {}, eps = {};
  bool drawn = false;
  Generator generator = {};

  NoiseOrigin() = default;
  NoiseOrigin(const Tensor& key, const Tensor& eps) : key(key), eps(eps) {}
  explicit NoiseOrigin(const Generator& generator) : drawn(true), generator(generator) {}
};

// On the CPU, or where the noise is wanted.
void check_key(const at::Tensor& key, const at::Device& device);

// A key on the CPU is passed by value; a key on a GPU is read there by the kernel.
KeySource key_source(const at::Tensor& key);

// A fresh key: what a launch is given, and the tensor that holds it once the launch is over.
struct Reserved {
  KeySource source;
  at::Tensor key;
};
Reserved reserve(const Generator& generator, const at::Device& device);

// A key that the launch draws for a sample, and leaves in the tensor.
Tensor draw_key(KeySource& source, const Generator& generator, const Tensor& sample);

// eps as a launch that computes in `type` reads it: its type does not count there, and no kernel for float reads
// double.
Tensor readable(const Tensor& eps, at::ScalarType type);

// The gradient of eps likewise: what the launch writes, dense if it has to be, and where it goes in the end.
class EpsGradient {
 public:
  EpsGradient(const Tensor& target, at::ScalarType type, bool dense = false);
  const Tensor& made() const { return made_; }
  void finish() const {
    if (!made_.is_same(target_)) target_.copy_(made_);
  }

 private:
  Tensor target_, made_;
};

// Checks that the noise has exactly one of the three origins, and that eps has the shape of the sample.
void check_noise(const NoiseOrigin& noise, int64_t element_offset, const Tensor& first, at::IntArrayRef shape);

}  // namespace genkern
