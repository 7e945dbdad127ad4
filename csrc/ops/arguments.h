// The arguments of a call of an op, read from the dispatcher's stack in the order of the schema, and how functions that
// read them are registered. Options that schemas share, as genkern/reference/options.py has them, are read as a whole.
#pragma once

#include <ATen/core/ivalue.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "ops/common.h"
#include "ops/random.h"

// GENKERN_OPS(m) { ... } registers kernels with the library m, for every device that has some.
#ifdef GENKERN_WITH_CUDA
#define GENKERN_OPS(m)                                          \
  static void register_kernels(torch::Library& m);              \
  TORCH_LIBRARY_IMPL(genkern, CPU, m) { register_kernels(m); }  \
  TORCH_LIBRARY_IMPL(genkern, CUDA, m) { register_kernels(m); } \
  static void register_kernels(torch::Library& m)
#else
#define GENKERN_OPS(m)                                         \
  static void register_kernels(torch::Library& m);             \
  TORCH_LIBRARY_IMPL(genkern, CPU, m) { register_kernels(m); } \
  static void register_kernels(torch::Library& m)
#endif

namespace genkern {

using torch::jit::Stack;

struct SampleOptions {
  NoiseOrigin noise{};
  at::DimVector shape = {};
  double temperature = 1.0;
  int64_t element_offset = 0;
};

struct DivergenceOptions {
  double free_bits = 0.0, grad_scale_q = 1.0, grad_scale_p = 1.0;
};

struct LossOptions {
  std::string_view reduction, units;
  std::optional<int64_t> event_ndim;

  Reduce over(at::IntArrayRef shape) const { return Reduce(reduction, units, event_ndim, shape); }
};

class Arguments {
 public:
  Arguments(const Stack& stack, const c10::OperatorHandle& op)
      : schema_(op.schema()),
        first_(&stack[stack.size() - schema_.arguments().size()]),
        next_(first_),
        draws_(schema_.overload_name() == "draw") {}

  // A tensor, undefined where an optional argument is None.
  Tensor tensor() {
    const c10::IValue& value = *next_++;
    const Tensor found = value.isTensor() ? value.toTensor() : Tensor();
    GK_REQUIRE(found.defined() ||
               schema_.arguments()[next_ - first_ - 1].type()->kind() == c10::TypeKind::OptionalType);
    return found;
  }
  double number() { return next_++->toDouble(); }
  int64_t integer() { return next_++->toInt(); }
  bool boolean() { return next_++->toBool(); }
  std::string_view text() { return next_++->toStringRef(); }
  std::optional<double> number_or_none() { return next_++->toOptional<double>(); }
  std::optional<int64_t> integer_or_none() { return next_++->toOptional<int64_t>(); }
  at::DimVector integers() { return next_++->toDimVector(); }
  std::vector<double> numbers() { return next_++->toDoubleVector(); }

  NoiseOrigin noise() {
    if (draws_) return NoiseOrigin(next_++->toOptional<at::Generator>());
    const Tensor key = tensor(), eps = tensor();
    return {key, eps};
  }
  ScaleOptions scale() {
    const std::string_view param = text();
    const double offset = number();
    const auto lo = number_or_none(), hi = number_or_none();
    return parse_scale(param, offset, lo, hi, text());
  }
  DivergenceOptions divergence() {
    const double free_bits = number(), to_q = number(), to_p = number();
    GK_REQUIRE(free_bits >= 0);
    return {free_bits, to_q, to_p};
  }
  // The outermost bins begin 0.1 % of half the range before its ends, or half a bin if that is less.
  Bins bins() {
    const int64_t count = integer();
    const double low = number(), high = number();
    GK_REQUIRE(count >= 2 && low < high);
    const double half = (high - low) / (2.0 * static_cast<double>(count - 1)),
                 margin = std::min(0.0005 * (high - low), half);
    return {half, std::log(half), low + margin, high - margin};
  }
  LossOptions loss() {
    const std::string_view reduction = text(), units = text();
    return {reduction, units, integer_or_none()};
  }

 private:
  const c10::FunctionSchema& schema_;
  const c10::IValue *first_, *next_;
  bool draws_;  // the call has a generator in place of key and eps
};

using Tensors = c10::SmallVector<Tensor, 5>;

// A function of Arguments as the dispatcher calls it.
template <Tensors (*function)(Arguments&)>
void boxed(const c10::OperatorHandle& op, Stack* stack) {
  Arguments arguments(*stack, op);
  Tensors results = function(arguments);
  torch::jit::drop(*stack, op.schema().arguments().size());
  for (Tensor& result : results) stack->emplace_back(std::move(result));
}

using Function = Tensors (*)(Arguments&);

// The kernels of an op and of its backward; of its overload `draw`, if it has one.
template <Function forward, Function backward>
void implement(torch::Library& m, const std::string& name, bool draws = false) {
  const auto add = [&](const char* suffix, auto&& f) { m.impl((name + suffix).c_str(), std::move(f)); };
  add("", torch::CppFunction::makeFromBoxedFunction<&boxed<forward>>());
  if (draws) add(".draw", torch::CppFunction::makeFromBoxedFunction<&boxed<forward>>());
  add("_backward", torch::CppFunction::makeFromBoxedFunction<&boxed<backward>>());
}

}  // namespace genkern
