// What the operations share: checks, options from strings, reductions.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/TensorBody.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "kernels.h"
#include "ops/layout.h"

namespace genkern {

using at::Tensor;

// What an argument must be. Python words the error: it knows the same rules (genkern/reference), and names the
// argument, what was expected and what came.
#define GK_REQUIRE(...) TORCH_CHECK((__VA_ARGS__), "genkern: expected ", #__VA_ARGS__)

// The choice that an option names.
template <class T, size_t N>
T choose(std::string_view value, const std::pair<const char*, T> (&choices)[N]) {
  const auto found =
      std::find_if(std::begin(choices), std::end(choices), [&](const auto& c) { return value == c.first; });
  GK_REQUIRE(found != std::end(choices));
  return found->second;
}

// Tensors are floating, the first of them integers where it may be `of_counts`, and on one device; those that are
// absent are undefined.
void check_tensors(at::ArrayRef<Tensor> tensors, bool of_counts = false);

// The shape that tensors broadcast to, after that check.
at::DimVector broadcast(at::ArrayRef<Tensor> tensors, bool of_counts = false);

ScaleOptions parse_scale(std::string_view param, double offset, std::optional<double> lo, std::optional<double> hi,
                         std::string_view mode);

// A reduction and its unit over a shape.
struct Reduce {
  Reduction kind;
  double factor;
  int64_t event_ndim;
  at::DimVector result_shape;
  double nats_per_unit;  // of the values before the factor

  Reduce(std::string_view reduction, std::string_view units, std::optional<int64_t> event_ndim, at::IntArrayRef shape);
};

// A tensor of the shape, in the memory format of `like` where the shapes agree.
Tensor empty_of(const Tensor& like, at::IntArrayRef shape, at::ScalarType dtype);

// An empty result of the reduction's shape. It is dense where something is summed.
Tensor empty_result(const Reduce& reduce, const Tensor& like, at::ScalarType dtype);

// float64 where any is, else float32.
at::ScalarType compute_type(at::ArrayRef<Tensor> tensors);

// The i-th argument's gradient, if the mask asks for it.
Tensor wanted(const Tensor& argument, int64_t mask, int i);

// Makes the result of a loss and tells the launch where it is. A loss over nothing has its value already.
template <class AnyLayout>
Tensor make_loss(Loss& loss, const Reduce& reduce, AnyLayout& layout, const Tensor& like, at::IntArrayRef shape,
                 at::ScalarType dtype) {
  loss.reduction = reduce.kind;
  loss.factor = reduce.factor;
  Tensor result = empty_result(reduce, like, dtype);
  if (reduce.kind == Reduction::none) {
    layout.out(loss.out, result);
    return result;
  }
  loss.out.data = result.data_ptr();
  loss.out.dtype = storage_type(result);
  if (c10::multiply_integers(shape) == 0) result.fill_(0.0 * reduce.factor);
  return result;
}

// The gradient of a loss, seen over its elements.
Tensor expand_grad(const Tensor& grad, const Reduce& reduce, at::IntArrayRef shape);

}  // namespace genkern
