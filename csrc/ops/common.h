// What the operations share: checks that name the argument, options from strings, reductions.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/TensorBody.h>

#include <optional>
#include <string_view>

#include "kernels.h"
#include "ops/layout.h"

namespace genkern {

using at::Tensor;

// The shape as Python writes it: (2, 3).
std::string shape_text(at::IntArrayRef shape);

// The choice that an option names.
template <class T, size_t N>
T choose(const char* name, std::string_view value, const std::pair<const char*, T> (&choices)[N]) {
  for (const auto& [text, chosen] : choices)
    if (value == text) return chosen;
  std::string expected;
  for (const auto& [text, chosen] : choices) expected += (expected.empty() ? "'" : ", '") + std::string(text) + "'";
  TORCH_CHECK_VALUE(false, name, ": expected one of ", expected, ", got '", value, "'");
}

// Floating, and on the device of the first. An optional argument may be undefined.
void check_tensor(const char* name, const Tensor& tensor, const Tensor& first, const char* first_name,
                  bool optional = false);

// The shape that all broadcast to; names the one that does not fit.
at::DimVector broadcast(std::initializer_list<std::pair<const char*, const Tensor*>> tensors);

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
at::ScalarType compute_type(std::initializer_list<const Tensor*> tensors);

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
