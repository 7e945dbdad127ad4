// The mixture of discretized logistics: checks, allocation, launch.
#include "ops/arguments.h"
#include "ops/device.h"

namespace genkern {
namespace {

struct Mixture {
  Tensor x, params;
  int64_t mixtures;
  Bins bins;
  int64_t channel;  // the dimension, not negative once it is checked
  bool rgb_coupling;
  double min_log_scale;
  int64_t channels;  // of x
  at::DimVector shape;
  Reduce reduce;

  explicit Mixture(Arguments& a)
      : x(a.tensor()),
        params(a.tensor()),
        mixtures(a.integer()),
        bins(a.bins()),
        channel(a.integer()),
        rgb_coupling(a.boolean()),
        min_log_scale(a.number()),
        shape(check()),
        reduce(over(a.loss())) {}

  Layout fill(LogisticMixture& a) const {
    a.wide = type() == at::kDouble;
    a.mixtures = mixtures;
    a.channels = channels;
    a.coupled = rgb_coupling;
    a.bins = bins;
    a.min_log_scale = min_log_scale;
    Layout layout(shape, reduce.event_ndim, true);
    layout.in(a.x, x, channel, a.x_channel);
    layout.in(a.params, params, channel, a.params_channel);
    return layout;
  }
  at::ScalarType type() const { return compute_type({&x, &params}); }

 private:
  Reduce over(const LossOptions& loss) const {
    Reduce found = loss.over(shape);
    if (loss.units == "bits_per_dim") found.factor /= static_cast<double>(channels);
    return found;
  }

  at::DimVector check() {
    check_tensor("x", x, x, "x");
    check_tensor("params", params, x, "x");
    TORCH_CHECK_VALUE(mixtures >= 1, "mixtures: expected an int >= 1, got ", mixtures);
    const int64_t ndim = params.dim();
    TORCH_CHECK_VALUE(channel >= -ndim && channel < ndim, "channel_dim: expected a dimension of params ",
                      shape_text(params.sizes()), ", got ", channel);
    if (channel < 0) channel += ndim;
    const int64_t given = params.size(channel);
    if (rgb_coupling) {
      TORCH_CHECK_VALUE(given % 10 == 0 && given / 10 == mixtures, "params: expected 10 * ", mixtures,
                        " channels along dimension ", channel, ", got ", given);
      channels = 3;
    } else {
      TORCH_CHECK_VALUE(given / 3 >= mixtures && (given - mixtures) % (2 * mixtures) == 0,
                        "params: expected M + 2 M C channels along dimension ", channel, " for M = ", mixtures,
                        " and a C >= 1, got ", given);
      channels = (given - mixtures) / (2 * mixtures);
    }
    TORCH_CHECK_VALUE(x.dim() == ndim, "x: expected ", ndim, " dimensions as params, got shape ",
                      shape_text(x.sizes()));
    TORCH_CHECK_VALUE(x.size(channel) == channels, "x: expected ", channels, " channels along dimension ", channel,
                      ", for which params has parameters, got ", x.size(channel));
    at::DimVector pixels;
    for (int64_t d = 0; d < ndim; ++d) {
      if (d == channel) continue;
      const int64_t a = x.size(d), b = params.size(d);
      TORCH_CHECK_VALUE(a == b || a == 1 || b == 1, "params: expected a shape that broadcasts with x ",
                        shape_text(x.sizes()), " but for the channels, got ", shape_text(params.sizes()));
      pixels.push_back(a == 1 ? b : a);
    }
    return pixels;
  }
};

Tensors mixture_forward(Arguments& arguments) {
  const Mixture mixture(arguments);
  LogisticMixtureForward a;
  Layout layout = mixture.fill(a);
  const Tensor result = make_loss(a.nll, mixture.reduce, layout, mixture.x, mixture.shape, mixture.type());
  launch(layout, mixture.x, &Kernels::logistic_mixture_forward, a);
  return {result};
}

Tensors mixture_backward(Arguments& arguments) {
  const Tensor grad = arguments.tensor();
  const Mixture mixture(arguments);
  const int64_t mask = arguments.integer();
  const Tensor d_x = wanted(mixture.x, mask, 0), d_params = wanted(mixture.params, mask, 1);
  LogisticMixtureBackward a;
  Layout layout = mixture.fill(a);
  layout.in(a.grad, expand_grad(grad, mixture.reduce, mixture.shape));
  a.factor = mixture.reduce.factor;
  layout.gradient(a.d_x, d_x, mixture.channel, a.d_x_channel);
  layout.gradient(a.d_params, d_params, mixture.channel, a.d_params_channel);
  launch(layout, mixture.x, &Kernels::logistic_mixture_backward, a);
  return {d_x, d_params};
}

void register_kernels(torch::Library& m) {
  implement<mixture_forward>(m, "discretized_logistic_mixture_nll");
  implement<mixture_backward>(m, "discretized_logistic_mixture_nll_backward");
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
