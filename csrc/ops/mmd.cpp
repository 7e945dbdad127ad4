// The maximum mean discrepancy: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <cmath>

#include "ops/device.h"
#include "ops/options.h"

namespace genkern {
namespace {

// x [B, D] and y [C, D], as the kernels take them.
struct Sets {
  Tensor x, y;
  at::ScalarType type;

  Sets(const Tensor& x, const Tensor& y, std::string_view kernel, at::ArrayRef<double> scales,
       std::string_view estimator)
      : x(x), y(y) {
    check(kernel, scales, estimator);
    type = compute_type({&this->x, &this->y});
    for (Tensor* t : {&this->x, &this->y}) *t = t->to(type).contiguous();
  }

  void fill(Mmd& a, std::string_view kernel, at::ArrayRef<double> scales, std::string_view estimator) const {
    a.wide = type == at::kDouble;
    a.x_rows = x.size(0);
    a.y_rows = y.size(0);
    a.dims = x.size(1);
    a.x = x.const_data_ptr();
    a.y = y.const_data_ptr();
    a.inverse_multiquadric = kernel == "imq";
    a.unbiased = estimator == "u";
    a.scales = static_cast<int>(scales.size());
    for (size_t i = 0; i < scales.size(); ++i) a.scale[i] = scales[i];
  }

 private:
  void check(std::string_view kernel, at::ArrayRef<double> scales, std::string_view estimator) const {
    check_tensor("x", x, x, "x");
    check_tensor("y", y, x, "x");
    TORCH_CHECK_VALUE(kernel == "rbf" || kernel == "imq", "kernel: expected one of 'rbf', 'imq', got '", kernel, "'");
    TORCH_CHECK_VALUE(!scales.empty() && scales.size() <= kMostScales, "scales: expected 1 to ", kMostScales,
                      " numbers, got ", scales.size());
    for (const double s : scales)
      TORCH_CHECK_VALUE(s > 0 && std::isfinite(s), "scales: expected finite numbers > 0, got ", s);
    TORCH_CHECK_VALUE(estimator == "u" || estimator == "v", "estimator: expected one of 'u', 'v', got '", estimator,
                      "'");
    const int64_t fewest = estimator == "u" ? 2 : 1;
    TORCH_CHECK_VALUE(x.dim() == 2 && x.size(0) >= fewest, "x: expected shape (B, D) with B >= ", fewest,
                      " for estimator '", estimator, "', got ", shape_text(x.sizes()));
    TORCH_CHECK_VALUE(y.dim() == 2 && y.size(0) >= fewest && y.size(1) == x.size(1), "y: expected shape (C, ",
                      x.size(1), ") with C >= ", fewest, " for estimator '", estimator, "', got ",
                      shape_text(y.sizes()));
  }
};

template <class A>
void launch(const Tensor& on, const A& a, int64_t (*Kernels::*workspace)(const A&),
            Status (*Kernels::*kernel)(const A&, const Launch&)) {
  Device device(on.device());
  device.reserve(workspace, a);
  device.run(kernel, a);
}

Tensor mmd(const Tensor& x, const Tensor& y, std::string_view kernel, at::ArrayRef<double> scales,
           std::string_view estimator) {
  const Sets sets(x, y, kernel, scales, estimator);
  const Tensor value = at::empty({}, x.options().dtype(sets.type));
  MmdForward a;
  sets.fill(a, kernel, scales, estimator);
  a.value = value.mutable_data_ptr();
  launch(x, a, &Kernels::mmd_forward_workspace, &Kernels::mmd_forward);
  return value;
}

std::tuple<Tensor, Tensor> mmd_backward(const OptionalTensor& grad, const Tensor& x, const Tensor& y,
                                        std::string_view kernel, at::ArrayRef<double> scales,
                                        std::string_view estimator, int64_t mask) {
  const Sets sets(x, y, kernel, scales, estimator);
  Tensor d_x, d_y;
  if (mask & 1) d_x = at::zeros_like(sets.x);
  if (mask & 2) d_y = at::zeros_like(sets.y);
  if (const Tensor g = or_undefined(grad); g.defined() && x.size(1) > 0) {
    MmdBackward a;
    sets.fill(a, kernel, scales, estimator);
    a.grad = g.const_data_ptr();
    if (d_x.defined()) a.d_x = d_x.mutable_data_ptr();
    if (d_y.defined()) a.d_y = d_y.mutable_data_ptr();
    launch(x, a, &Kernels::mmd_backward_workspace, &Kernels::mmd_backward);
  }
  if (d_x.defined()) d_x = d_x.to(x.scalar_type());
  if (d_y.defined()) d_y = d_y.to(y.scalar_type());
  return {d_x, d_y};
}

void register_kernels(torch::Library& m) {
  m.impl("mmd", TORCH_FN(mmd));
  m.impl("mmd_backward", TORCH_FN(mmd_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
