// The likelihood and the entropy of a Gaussian: checks, allocation, launch.
#include "ops/nll.h"

namespace genkern {
namespace {

struct Entropy {
  Tensor scale;
  ScaleOptions scale_options;
  Reduce reduce;

  explicit Entropy(Arguments& a) : scale(a.tensor()), scale_options(a.scale()), reduce(a.loss().over(scale.sizes())) {
    check_tensor("scale", scale, scale, "scale");
  }
  Layout fill(GaussianEntropy& a) const {
    Layout layout(scale.sizes(), reduce.event_ndim, true);
    a.wide = type() == at::kDouble;
    a.scale_options = scale_options;
    layout.in(a.scale, scale);
    return layout;
  }
  at::ScalarType type() const { return compute_type({&scale}); }
};

Tensors entropy_forward(Arguments& arguments) {
  const Entropy entropy(arguments);
  GaussianEntropyForward a;
  Layout layout = entropy.fill(a);
  const Tensor& scale = entropy.scale;
  const Tensor result = make_loss(a.entropy, entropy.reduce, layout, scale, scale.sizes(), entropy.type());
  launch(layout, scale, &Kernels::gaussian_entropy_forward, a);
  return {result};
}

Tensors entropy_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const Entropy entropy(arguments);
  const Tensor d_scale = wanted(entropy.scale, arguments.integer(), 0);
  GaussianEntropyBackward a;
  Layout layout = entropy.fill(a);
  a.factor = entropy.reduce.factor;
  layout.in(a.grad, expand_grad(grad, entropy.reduce, entropy.scale.sizes()));
  layout.gradient(a.d_scale, d_scale);
  launch(layout, entropy.scale, &Kernels::gaussian_entropy_backward, a);
  return {d_scale};
}

void register_kernels(torch::Library& m) {
  implement<nll_forward<&Kernels::gaussian_nll_forward, read_density>>(m, "gaussian_nll");
  implement<nll_backward<&Kernels::gaussian_nll_backward, read_density>>(m, "gaussian_nll_backward");
  implement<entropy_forward>(m, "gaussian_entropy");
  implement<entropy_backward>(m, "gaussian_entropy_backward");
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
