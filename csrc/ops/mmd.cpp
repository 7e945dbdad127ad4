// The maximum mean discrepancy: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern::mmd_op {

// x [B, D] and y [C, D], as the kernels take them.
struct Sets {
  Tensor x, y;
  std::string_view kernel;
  std::vector<double> scales;
  std::string_view estimator;
  at::ScalarType x_type, y_type, type;

  explicit Sets(Arguments& a)
      : x(a.tensor()), y(a.tensor()), kernel(a.text()), scales(a.numbers()), estimator(a.text()) {
    check();
    x_type = x.scalar_type();
    y_type = y.scalar_type();
    type = compute_type({x, y});
    for (Tensor* t : {&x, &y}) *t = t->to(type).contiguous();
  }

  void fill(Mmd& a) const {
    a.wide = type == at::kDouble;
    a.x_rows = x.size(0);
    a.y_rows = y.size(0);
    a.dims = x.size(1);
    a.x = x.const_data_ptr();
    a.y = y.const_data_ptr();
    a.inverse_multiquadric = kernel == "imq";
    a.unbiased = estimator == "u";
    a.scales = static_cast<int>(scales.size());
    std::copy(scales.begin(), scales.end(), a.scale);
  }

 private:
  void check() const {
    check_tensors({x, y});
    GK_REQUIRE((kernel == "rbf" || kernel == "imq") && (estimator == "u" || estimator == "v"));
    GK_REQUIRE(!scales.empty() && scales.size() <= kMostScales);
    GK_REQUIRE(std::all_of(scales.begin(), scales.end(), [](double s) { return s > 0 && std::isfinite(s); }));
    const int64_t fewest = estimator == "u" ? 2 : 1;
    GK_REQUIRE(x.dim() == 2 && x.size(0) >= fewest && y.dim() == 2 && y.size(0) >= fewest && y.size(1) == x.size(1));
  }
};

Tensors mmd_forward(Arguments& arguments) {
  const Sets sets(arguments);
  const Tensor value = at::empty({}, sets.x.options());
  MmdForward a;
  sets.fill(a);
  a.value = value.mutable_data_ptr();
  launch(sets.x, a, &Kernels::mmd_forward_workspace, &Kernels::mmd_forward);
  return {value};
}

Tensors mmd_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const Sets sets(arguments);
  const int64_t mask = arguments.integer();
  Tensors d(2);
  if (mask & 1) d[0] = at::zeros_like(sets.x);
  if (mask & 2) d[1] = at::zeros_like(sets.y);
  if (grad.defined() && sets.x.size(1) > 0) {
    MmdBackward a;
    sets.fill(a);
    a.grad = grad.const_data_ptr();
    if (d[0].defined()) a.d_x = d[0].mutable_data_ptr();
    if (d[1].defined()) a.d_y = d[1].mutable_data_ptr();
    launch(sets.x, a, &Kernels::mmd_backward_workspace, &Kernels::mmd_backward);
  }
  if (d[0].defined()) d[0] = d[0].to(sets.x_type);
  if (d[1].defined()) d[1] = d[1].to(sets.y_type);
  return d;
}

GENKERN_OPS(m) { implement<mmd_forward, mmd_backward>(m, "mmd"); }

}  // namespace genkern::mmd_op
