// The mixture of discretized logistics: checks, allocation, launch.
#include <torch/library.h>

#include "ops/device.h"
#include "ops/options.h"

namespace genkern {
namespace {

#define MIXTURE_OPTIONS                                                                                             \
  int64_t mixtures, int64_t bins, double low, double high, [[maybe_unused]] int64_t channel_dim, bool rgb_coupling, \
      [[maybe_unused]] double min_log_scale
#define MIXTURE_VALUES mixtures, bins, low, high, channel_dim, rgb_coupling, min_log_scale

struct Mixture {
  Tensor x, params;
  int64_t channel;   // the dimension, not negative
  int64_t channels;  // of x
  at::DimVector shape;
  Reduce reduce;

  Mixture(const Tensor& x, const Tensor& params, MIXTURE_OPTIONS, REDUCE_OPTIONS)
      : x(x), params(params), shape(check(MIXTURE_VALUES)), reduce(REDUCE_VALUES, shape) {
    if (units == "bits_per_dim") reduce.factor /= static_cast<double>(channels);
  }

  Layout fill(LogisticMixture& a, MIXTURE_OPTIONS) const {
    a.wide = type() == at::kDouble;
    a.mixtures = mixtures;
    a.channels = channels;
    a.coupled = rgb_coupling;
    a.bins = bins_of(bins, low, high);
    a.min_log_scale = min_log_scale;
    Layout layout(shape, reduce.event_ndim, true);
    layout.in(a.x, x, channel, a.x_channel);
    layout.in(a.params, params, channel, a.params_channel);
    return layout;
  }
  at::ScalarType type() const { return compute_type({&x, &params}); }

 private:
  at::DimVector check(MIXTURE_OPTIONS) {
    check_tensor("x", x, x, "x");
    check_tensor("params", params, x, "x");
    TORCH_CHECK_VALUE(mixtures >= 1, "mixtures: expected an int >= 1, got ", mixtures);
    TORCH_CHECK_VALUE(low < high, "high: expected a number above low ", low, ", got ", high);
    const int64_t ndim = params.dim();
    TORCH_CHECK_VALUE(channel_dim >= -ndim && channel_dim < ndim, "channel_dim: expected a dimension of params ",
                      shape_text(params.sizes()), ", got ", channel_dim);
    channel = channel_dim < 0 ? channel_dim + ndim : channel_dim;
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
    TORCH_CHECK_VALUE(bins >= 2, "bins: expected an int >= 2, got ", bins);
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

Tensor logistic_mixture_nll(const Tensor& x, const Tensor& params, MIXTURE_OPTIONS, REDUCE_OPTIONS) {
  const Mixture mixture(x, params, MIXTURE_VALUES, REDUCE_VALUES);
  LogisticMixtureForward a;
  Layout layout = mixture.fill(a, MIXTURE_VALUES);
  const Tensor result = make_loss(a.nll, mixture.reduce, layout, x, mixture.shape, mixture.type());
  a.extent = layout.resolve();
  Device(x.device()).run(&Kernels::logistic_mixture_forward, a, a.extent, a.nll.reduction, 1);
  layout.finish();
  return result;
}

std::tuple<Tensor, Tensor> logistic_mixture_nll_backward(const OptionalTensor& grad, const Tensor& x,
                                                         const Tensor& params, MIXTURE_OPTIONS, REDUCE_OPTIONS,
                                                         int64_t mask) {
  const Mixture mixture(x, params, MIXTURE_VALUES, REDUCE_VALUES);
  const Tensor d_x = wanted(x, mask, 0), d_params = wanted(params, mask, 1);
  LogisticMixtureBackward a;
  Layout layout = mixture.fill(a, MIXTURE_VALUES);
  layout.in(a.grad, expand_grad(or_undefined(grad), mixture.reduce, mixture.shape));
  a.factor = mixture.reduce.factor;
  layout.gradient(a.d_x, d_x, mixture.channel, a.d_x_channel);
  layout.gradient(a.d_params, d_params, mixture.channel, a.d_params_channel);
  a.extent = layout.resolve();
  Device(x.device()).run(&Kernels::logistic_mixture_backward, a);
  layout.finish();
  return {d_x, d_params};
}

void register_kernels(torch::Library& m) {
  m.impl("discretized_logistic_mixture_nll", TORCH_FN(logistic_mixture_nll));
  m.impl("discretized_logistic_mixture_nll_backward", TORCH_FN(logistic_mixture_nll_backward));
}

}  // namespace

GENKERN_FOR_EACH_DEVICE(register_kernels)

}  // namespace genkern
