// Likelihoods of data: checks, allocation, launch.
#include "ops/nll.h"

namespace genkern {
namespace {

struct Bernoulli {
  Tensor x, logits;
  double label_smoothing;
  at::DimVector shape;
  Reduce reduce;

  explicit Bernoulli(Arguments& a)
      : x(a.tensor()), logits(a.tensor()), label_smoothing(a.number()), shape(check()), reduce(a.loss().over(shape)) {}

  Layout fill(BernoulliNll& a) const {
    Layout layout(shape, reduce.event_ndim, true);
    a.wide = type() == at::kDouble;
    a.label_smoothing = label_smoothing;
    layout.in(a.x, x);
    layout.in(a.logits, logits);
    return layout;
  }
  at::ScalarType type() const { return compute_type({&x, &logits}); }

 private:
  at::DimVector check() const {
    check_tensor("x", x, x, "x");
    check_tensor("logits", logits, x, "x");
    TORCH_CHECK_VALUE(label_smoothing >= 0.0 && label_smoothing <= 1.0,
                      "label_smoothing: expected a number from 0 to 1, got ", label_smoothing);
    return broadcast({{"x", &x}, {"logits", &logits}});
  }
};

Tensors bernoulli_forward(Arguments& arguments) {
  const Bernoulli nll(arguments);
  BernoulliNllForward a;
  Layout layout = nll.fill(a);
  const Tensor result = make_loss(a.nll, nll.reduce, layout, nll.x, nll.shape, nll.type());
  launch(layout, nll.x, &Kernels::bernoulli_nll_forward, a);
  return {result};
}

Tensors bernoulli_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const Bernoulli nll(arguments);
  const int64_t mask = arguments.integer();
  const Tensor d_x = wanted(nll.x, mask, 0), d_logits = wanted(nll.logits, mask, 1);
  BernoulliNllBackward a;
  Layout layout = nll.fill(a);
  layout.in(a.grad, expand_grad(grad, nll.reduce, nll.shape));
  a.factor = nll.reduce.factor;
  layout.gradient(a.d_x, d_x);
  layout.gradient(a.d_logits, d_logits);
  launch(layout, nll.x, &Kernels::bernoulli_nll_backward, a);
  return {d_x, d_logits};
}

void read_bins(LocScaleNll& a, Arguments& arguments) {
  static constexpr std::pair<const char*, Cdf> cdfs[] = {{"exact", Cdf::exact}, {"tanh", Cdf::tanh}};
  a.scale_value = arguments.number();
  a.bins = arguments.bins();
  a.cdf = choose("cdf", arguments.text(), cdfs);
  a.scale_options = arguments.scale();
}

void register_kernels(torch::Library& m) {
  implement<nll_forward<&Kernels::laplace_nll_forward, read_density>>(m, "laplace_nll");
  implement<nll_backward<&Kernels::laplace_nll_backward, read_density>>(m, "laplace_nll_backward");
  implement<bernoulli_forward>(m, "bernoulli_nll");
  implement<bernoulli_backward>(m, "bernoulli_nll_backward");
  implement<nll_forward<&Kernels::discretized_gaussian_nll_forward, read_bins>>(m, "discretized_gaussian_nll");
  implement<nll_backward<&Kernels::discretized_gaussian_nll_backward, read_bins>>(m,
                                                                                  "discretized_gaussian_nll_backward");
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
