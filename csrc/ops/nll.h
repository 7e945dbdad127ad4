// Likelihoods with a location and a scale: checks, allocation, launch.
#pragma once

#include <ATen/ops/empty.h>

#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern {

// x, loc and scale of a likelihood; no scale: a number.
struct LocScale {
  Tensor x, loc, scale;
  at::DimVector shape;
  Reduce reduce;

  LocScale(const Tensor& x, const Tensor& loc, const Tensor& scale, const LossOptions& loss)
      : x(x), loc(loc), scale(scale), shape(check()), reduce(loss.over(shape)) {}

  // `a` holds its options already.
  Layout fill(LocScaleNll& a) const {
    Layout layout(shape, reduce.event_ndim, true);
    a.wide = type() == at::kDouble;
    layout.in(a.x, x);
    layout.in(a.loc, loc);
    layout.in(a.scale, scale);
    return layout;
  }
  at::ScalarType type() const { return compute_type({&x, &loc, &scale}); }

  // Whether one scale serves a whole row, so that its gradient is a sum over the row.
  bool scale_by_row() const {
    if (!scale.defined() || scale.sizes() == at::IntArrayRef(shape)) return false;
    const int64_t event_from = static_cast<int64_t>(shape.size()) - reduce.event_ndim;
    for (int64_t d = 1; d <= scale.dim(); ++d)
      if (static_cast<int64_t>(shape.size()) - d >= event_from && scale.size(-d) != 1) return false;
    return true;
  }

 private:
  at::DimVector check() const {
    check_tensor("x", x, x, "x");
    check_tensor("loc", loc, x, "x");
    check_tensor("scale", scale, x, "x", true);
    return broadcast({{"x", &x}, {"loc", &loc}, {"scale", &scale}});
  }
};

// read(a, arguments) reads what stands between the scale and the reduction in the schema.
template <auto kernel, auto read>
Tensors nll_forward(Arguments& arguments) {
  LocScaleNllForward a;
  const Tensor x = arguments.tensor(), loc = arguments.tensor(), scale = arguments.tensor();
  read(a, arguments);
  const LocScale nll(x, loc, scale, arguments.loss());
  Layout layout = nll.fill(a);
  const Tensor result = make_loss(a.nll, nll.reduce, layout, nll.x, nll.shape, nll.type());
  launch(layout, nll.x, kernel, a);
  return {result};
}

template <auto kernel, auto read>
Tensors nll_backward(Arguments& arguments) {
  LocScaleNllBackward a;
  const Tensor grad = arguments.tensor(), x = arguments.tensor(), loc = arguments.tensor(), scale = arguments.tensor();
  read(a, arguments);
  const LocScale nll(x, loc, scale, arguments.loss());
  const int64_t mask = arguments.integer();
  const Tensor d_x = wanted(nll.x, mask, 0), d_loc = wanted(nll.loc, mask, 1), d_scale = wanted(nll.scale, mask, 2);
  Layout layout = nll.fill(a);
  layout.in(a.grad, expand_grad(grad, nll.reduce, nll.shape));
  a.factor = nll.reduce.factor;
  layout.gradient(a.d_x, d_x);
  layout.gradient(a.d_loc, d_loc);
  Tensor by_row;
  if (d_scale.defined() && nll.scale_by_row()) {
    at::DimVector rows(nll.shape.begin(), nll.shape.end() - nll.reduce.event_ndim);
    by_row = at::empty(rows, nll.x.options().dtype(nll.type()));
    a.d_scale_sum.reduction = Reduction::event;
    a.d_scale_sum.out.data = by_row.data_ptr();
    if (c10::multiply_integers(nll.shape) == 0) by_row.zero_();
  } else {
    layout.gradient(a.d_scale, d_scale);
  }
  launch(layout, nll.x, kernel, a);
  if (by_row.defined()) sum_into(d_scale, trailing_ones(by_row, static_cast<int64_t>(nll.shape.size())));
  return {d_x, d_loc, d_scale};
}

// The options of a density.
inline void read_density(LocScaleNll& a, Arguments& arguments) {
  a.scale_value = arguments.number();
  a.full = arguments.boolean();
  a.scale_options = arguments.scale();
}

}  // namespace genkern
