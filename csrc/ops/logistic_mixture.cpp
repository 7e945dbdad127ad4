// The mixture of discretized logistics: its checks and its channels.
#include <ATen/ExpandUtils.h>

#include "ops/loss.h"

namespace genkern::logistic_mixture_op {

// x and params have channels besides the pixels that the extent is of.
struct Mixture {
  using Forward = LogisticMixtureForward;
  using Backward = LogisticMixtureBackward;
  Tensors tensors;
  int64_t mixtures;
  Bins bins;
  int64_t channel;  // the dimension, not negative once it is checked
  bool rgb_coupling;
  double min_log_scale;
  KernelOf<Forward> forward;
  KernelOf<Backward> backward;
  int64_t channels;  // of x
  at::DimVector shape;
  Reduce reduce;

  explicit Mixture(Arguments& a)
      : tensors{a.tensor(), a.tensor()},
        mixtures(a.integer()),
        bins(a.bins()),
        channel(a.integer()),
        rgb_coupling(a.boolean()),
        min_log_scale(a.number()),
        forward(rgb_coupling ? &Kernels::rgb_logistic_mixture_forward : &Kernels::channel_logistic_mixture_forward),
        backward(rgb_coupling ? &Kernels::rgb_logistic_mixture_backward : &Kernels::channel_logistic_mixture_backward),
        shape(check()),
        reduce(over(a.loss())) {}

  Layout fill(LogisticMixture& a) const {
    a.wide = compute_type(tensors) == at::kDouble;
    a.mixtures = mixtures;
    a.channels = channels;
    a.bins = bins;
    a.min_log_scale = min_log_scale;
    Layout layout(shape, reduce.event_ndim, true);
    layout.in(a.x, tensors[0], channel, a.x_channel);
    layout.in(a.params, tensors[1], channel, a.params_channel);
    return layout;
  }

  Tensors gradients(Backward& a, Layout& layout, int64_t mask) const {
    Tensors d{wanted(tensors[0], mask, 0), wanted(tensors[1], mask, 1)};
    layout.gradient(a.d_x, d[0], channel, a.d_x_channel);
    layout.gradient(a.d_params, d[1], channel, a.d_params_channel);
    return d;
  }

 private:
  Reduce over(const LossOptions& loss) const {
    Reduce found = loss.over(shape);
    if (loss.units == "bits_per_dim") found.factor /= static_cast<double>(channels);
    return found;
  }

  // The shape of the pixels.
  at::DimVector check() {
    check_tensors(tensors);
    const Tensor &x = tensors[0], &params = tensors[1];
    const int64_t ndim = params.dim();
    GK_REQUIRE(mixtures >= 1 && x.dim() == ndim && channel >= -ndim && channel < ndim);
    if (channel < 0) channel += ndim;
    const int64_t given = params.size(channel);
    if (rgb_coupling) {
      GK_REQUIRE(given % 10 == 0 && given / 10 == mixtures);
    } else {
      GK_REQUIRE(given / 3 >= mixtures && (given - mixtures) % (2 * mixtures) == 0);
    }
    channels = rgb_coupling ? 3 : (given - mixtures) / (2 * mixtures);
    GK_REQUIRE(x.size(channel) == channels);
    at::DimVector of_x(x.sizes()), of_params(params.sizes());
    of_x.erase(of_x.begin() + channel);
    of_params.erase(of_params.begin() + channel);
    return at::infer_size_dimvector(of_x, of_params);
  }
};

GENKERN_OPS(m) { implement_loss<Mixture>(m, "discretized_logistic_mixture_nll"); }

}  // namespace genkern::logistic_mixture_op
