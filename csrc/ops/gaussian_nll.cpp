// The Gaussian likelihood and entropy: checks, allocation, launch.
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include "ops/device.h"
#include "ops/options.h"

namespace genkern {
namespace {

// x, loc and scale of a likelihood; no scale: a number.
struct Nll {
  Tensor x, loc, scale;
  at::DimVector shape;
  Reduce reduce;

  Nll(const Tensor& x, const Tensor& loc, const OptionalTensor& scale, std::string_view reduction,
      std::string_view units, std::optional<int64_t> event_ndim)
      : x(x), loc(loc), scale(or_undefined(scale)), shape(check()), reduce(reduction, units, event_ndim, shape) {}

  Layout fill(GaussianNll& a, double scale_value, bool full, const ScaleOptions& options) const {
    Layout layout(shape, reduce.event_ndim, true);
    a.wide = type() == at::kDouble;
    a.scale_value = scale_value;
    a.full = full;
    a.scale_options = options;
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

Tensor gaussian_nll(const Tensor& x, const Tensor& loc, const OptionalTensor& scale, double scale_value, bool full,
                    SCALE_OPTIONS, REDUCE_OPTIONS) {
  const Nll nll(x, loc, scale, reduction, units, event_ndim);
  GaussianNllForward a;
  Layout layout = nll.fill(a, scale_value, full, SCALE);
  const Tensor result = make_loss(a.nll, nll.reduce, layout, x, nll.shape, nll.type());
  a.extent = layout.resolve();
  Device(x.device()).run(&Kernels::gaussian_nll_forward, a, a.extent, a.nll.reduction, 1);
  layout.finish();
  return result;
}

std::tuple<Tensor, Tensor, Tensor> gaussian_nll_backward(const OptionalTensor& grad, const Tensor& x, const Tensor& loc,
                                                         const OptionalTensor& scale, double scale_value, bool full,
                                                         SCALE_OPTIONS, REDUCE_OPTIONS, int64_t mask) {
  const Nll nll(x, loc, scale, reduction, units, event_ndim);
  const Tensor d_x = wanted(x, mask, 0), d_loc = wanted(loc, mask, 1), d_scale = wanted(nll.scale, mask, 2);
  GaussianNllBackward a;
  Layout layout = nll.fill(a, scale_value, full, SCALE);
  layout.in(a.grad, expand_grad(or_undefined(grad), nll.reduce, nll.shape));
  a.factor = nll.reduce.factor;
  layout.gradient(a.d_x, d_x);
  layout.gradient(a.d_loc, d_loc);
  Tensor by_row;
  if (d_scale.defined() && nll.scale_by_row()) {
    at::DimVector rows(nll.shape.begin(), nll.shape.end() - nll.reduce.event_ndim);
    by_row = at::empty(rows, x.options().dtype(nll.type()));
    a.d_scale_sum.reduction = Reduction::event;
    a.d_scale_sum.out.data = by_row.data_ptr();
    if (c10::multiply_integers(nll.shape) == 0) by_row.zero_();
  } else {
    layout.gradient(a.d_scale, d_scale);
  }
  a.extent = layout.resolve();
  Device(x.device()).run(&Kernels::gaussian_nll_backward, a, a.extent, a.d_scale_sum.reduction, by_row.defined());
  layout.finish();
  if (by_row.defined()) sum_into(d_scale, trailing_ones(by_row, static_cast<int64_t>(nll.shape.size())));
  return {d_x, d_loc, d_scale};
}

Tensor gaussian_entropy(const Tensor& scale, SCALE_OPTIONS, REDUCE_OPTIONS) {
  check_tensor("scale", scale, scale, "scale");
  const Reduce reduce(reduction, units, event_ndim, scale.sizes());
  GaussianEntropyForward a;
  Layout layout(scale.sizes(), reduce.event_ndim, true);
  const auto type = compute_type({&scale});
  a.wide = type == at::kDouble;
  a.scale_options = SCALE;
  layout.in(a.scale, scale);
  const Tensor result = make_loss(a.entropy, reduce, layout, scale, scale.sizes(), type);
  a.extent = layout.resolve();
  Device(scale.device()).run(&Kernels::gaussian_entropy_forward, a, a.extent, a.entropy.reduction, 1);
  layout.finish();
  return result;
}

Tensor gaussian_entropy_backward(const OptionalTensor& grad, const Tensor& scale, SCALE_OPTIONS, REDUCE_OPTIONS,
                                 int64_t mask) {
  check_tensor("scale", scale, scale, "scale");
  const Reduce reduce(reduction, units, event_ndim, scale.sizes());
  const Tensor d_scale = wanted(scale, mask, 0);
  GaussianEntropyBackward a;
  Layout layout(scale.sizes(), reduce.event_ndim, true);
  a.wide = compute_type({&scale}) == at::kDouble;
  a.scale_options = SCALE;
  a.factor = reduce.factor;
  layout.in(a.scale, scale);
  layout.in(a.grad, expand_grad(or_undefined(grad), reduce, scale.sizes()));
  layout.gradient(a.d_scale, d_scale);
  a.extent = layout.resolve();
  Device(scale.device()).run(&Kernels::gaussian_entropy_backward, a);
  layout.finish();
  return d_scale;
}

void register_kernels(torch::Library& m) {
  m.impl("gaussian_nll", TORCH_FN(gaussian_nll));
  m.impl("gaussian_nll_backward", TORCH_FN(gaussian_nll_backward));
  m.impl("gaussian_entropy", TORCH_FN(gaussian_entropy));
  m.impl("gaussian_entropy_backward", TORCH_FN(gaussian_entropy_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
