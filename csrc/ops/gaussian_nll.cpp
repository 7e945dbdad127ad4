// The Gaussian and Laplace likelihoods and the Gaussian entropy: checks, allocation, launch.
#include <torch/library.h>

#include "ops/nll.h"

namespace genkern {
namespace {

template <class A>
A options_of(double scale_value, bool full, const ScaleOptions& scale) {
  A a;
  a.scale_value = scale_value;
  a.full = full;
  a.scale_options = scale;
  return a;
}

Tensor gaussian_nll(const Tensor& x, const Tensor& loc, const OptionalTensor& scale, double scale_value, bool full,
                    SCALE_OPTIONS, REDUCE_OPTIONS) {
  return nll_forward(&Kernels::gaussian_nll_forward, LocScale(x, loc, scale, REDUCE),
                     options_of<LocScaleNllForward>(scale_value, full, SCALE));
}

std::tuple<Tensor, Tensor, Tensor> gaussian_nll_backward(const OptionalTensor& grad, const Tensor& x, const Tensor& loc,
                                                         const OptionalTensor& scale, double scale_value, bool full,
                                                         SCALE_OPTIONS, REDUCE_OPTIONS, int64_t mask) {
  return nll_backward(&Kernels::gaussian_nll_backward, LocScale(x, loc, scale, REDUCE),
                      options_of<LocScaleNllBackward>(scale_value, full, SCALE), grad, mask);
}

Tensor laplace_nll(const Tensor& x, const Tensor& loc, const OptionalTensor& scale, double scale_value, bool full,
                   SCALE_OPTIONS, REDUCE_OPTIONS) {
  return nll_forward(&Kernels::laplace_nll_forward, LocScale(x, loc, scale, REDUCE),
                     options_of<LocScaleNllForward>(scale_value, full, SCALE));
}

std::tuple<Tensor, Tensor, Tensor> laplace_nll_backward(const OptionalTensor& grad, const Tensor& x, const Tensor& loc,
                                                        const OptionalTensor& scale, double scale_value, bool full,
                                                        SCALE_OPTIONS, REDUCE_OPTIONS, int64_t mask) {
  return nll_backward(&Kernels::laplace_nll_backward, LocScale(x, loc, scale, REDUCE),
                      options_of<LocScaleNllBackward>(scale_value, full, SCALE), grad, mask);
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
  m.impl("laplace_nll", TORCH_FN(laplace_nll));
  m.impl("laplace_nll_backward", TORCH_FN(laplace_nll_backward));
  m.impl("gaussian_entropy", TORCH_FN(gaussian_entropy));
  m.impl("gaussian_entropy_backward", TORCH_FN(gaussian_entropy_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
