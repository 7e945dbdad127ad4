// Likelihoods of data: checks, allocation, launch.
#include <torch/library.h>

#include "ops/nll.h"

namespace genkern {
namespace {

struct BernoulliOp {
  Tensor x, logits;
  double label_smoothing;
  at::DimVector shape;
  Reduce reduce;

  BernoulliOp(const Tensor& x, const Tensor& logits, double label_smoothing, REDUCE_OPTIONS)
      : x(x),
        logits(logits),
        label_smoothing(label_smoothing),
        shape(check()),
        reduce(reduction, units, event_ndim, shape) {}

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

Tensor bernoulli_nll(const Tensor& x, const Tensor& logits, double label_smoothing, REDUCE_OPTIONS) {
  const BernoulliOp op(x, logits, label_smoothing, REDUCE_VALUES);
  BernoulliNllForward a;
  Layout layout = op.fill(a);
  const Tensor result = make_loss(a.nll, op.reduce, layout, x, op.shape, op.type());
  a.extent = layout.resolve();
  Device(x.device()).run(&Kernels::bernoulli_nll_forward, a, a.extent, a.nll.reduction, 1);
  layout.finish();
  return result;
}

std::tuple<Tensor, Tensor> bernoulli_nll_backward(const OptionalTensor& grad, const Tensor& x, const Tensor& logits,
                                                  double label_smoothing, REDUCE_OPTIONS, int64_t mask) {
  const BernoulliOp op(x, logits, label_smoothing, REDUCE_VALUES);
  const Tensor d_x = wanted(x, mask, 0), d_logits = wanted(logits, mask, 1);
  BernoulliNllBackward a;
  Layout layout = op.fill(a);
  layout.in(a.grad, expand_grad(or_undefined(grad), op.reduce, op.shape));
  a.factor = op.reduce.factor;
  layout.gradient(a.d_x, d_x);
  layout.gradient(a.d_logits, d_logits);
  a.extent = layout.resolve();
  Device(x.device()).run(&Kernels::bernoulli_nll_backward, a);
  layout.finish();
  return {d_x, d_logits};
}

#define BIN_OPTIONS int64_t bins, double low, double high, std::string_view cdf

template <class A>
A discretized(double scale_value, BIN_OPTIONS, const ScaleOptions& scale) {
  TORCH_CHECK_VALUE(bins >= 2, "bins: expected an int >= 2, got ", bins);
  TORCH_CHECK_VALUE(low < high, "high: expected a number above low ", low, ", got ", high);
  TORCH_CHECK_VALUE(cdf == "exact" || cdf == "tanh", "cdf: expected one of 'exact', 'tanh', got '", cdf, "'");
  A a;
  a.scale_value = scale_value;
  a.scale_options = scale;
  a.bins = bins_of(bins, low, high);
  a.cdf = cdf == "exact" ? Cdf::exact : Cdf::tanh;
  return a;
}

Tensor discretized_gaussian_nll(const Tensor& x, const Tensor& loc, const OptionalTensor& scale, double scale_value,
                                BIN_OPTIONS, SCALE_OPTIONS, REDUCE_OPTIONS) {
  return nll_forward(&Kernels::discretized_gaussian_nll_forward, LocScale(x, loc, scale, REDUCE),
                     discretized<LocScaleNllForward>(scale_value, bins, low, high, cdf, SCALE));
}

std::tuple<Tensor, Tensor, Tensor> discretized_gaussian_nll_backward(const OptionalTensor& grad, const Tensor& x,
                                                                     const Tensor& loc, const OptionalTensor& scale,
                                                                     double scale_value, BIN_OPTIONS, SCALE_OPTIONS,
                                                                     REDUCE_OPTIONS, int64_t mask) {
  return nll_backward(&Kernels::discretized_gaussian_nll_backward, LocScale(x, loc, scale, REDUCE),
                      discretized<LocScaleNllBackward>(scale_value, bins, low, high, cdf, SCALE), grad, mask);
}

void register_kernels(torch::Library& m) {
  m.impl("bernoulli_nll", TORCH_FN(bernoulli_nll));
  m.impl("bernoulli_nll_backward", TORCH_FN(bernoulli_nll_backward));
  m.impl("discretized_gaussian_nll", TORCH_FN(discretized_gaussian_nll));
  m.impl("discretized_gaussian_nll_backward", TORCH_FN(discretized_gaussian_nll_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
