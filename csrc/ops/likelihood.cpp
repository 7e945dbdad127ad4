// Likelihoods of data, and the entropy of a Gaussian: their options.
#include "ops/loss.h"

namespace genkern::likelihood_op {

void read_density(LocScaleNll& a, Arguments& arguments) {
  a.scale_value = arguments.number();
  a.full = arguments.boolean();
  a.scale_options = arguments.scale();
}

void read_bins(LocScaleNll& a, Arguments& arguments) {
  static constexpr std::pair<const char*, Cdf> cdfs[] = {{"exact", Cdf::exact}, {"tanh", Cdf::tanh}};
  a.scale_value = arguments.number();
  a.bins = arguments.bins();
  a.cdf = choose(arguments.text(), cdfs);
  a.scale_options = arguments.scale();
}

void read_scale(GaussianEntropy& a, Arguments& arguments) { a.scale_options = arguments.scale(); }

void read_bernoulli(Terms<2>& a, Arguments& arguments) {
  a.options.label_smoothing = arguments.number();
  GK_REQUIRE(a.options.label_smoothing >= 0.0 && a.options.label_smoothing <= 1.0);
}

using K = Kernels;

GENKERN_OPS(m) {
  implement_loss<&K::gaussian_nll_forward, &K::gaussian_nll_backward, read_density>(m, "gaussian_nll");
  implement_loss<&K::laplace_nll_forward, &K::laplace_nll_backward, read_density>(m, "laplace_nll");
  implement_loss<&K::discretized_gaussian_nll_forward, &K::discretized_gaussian_nll_backward, read_bins>(
      m, "discretized_gaussian_nll");
  implement_loss<&K::bernoulli_nll_forward, &K::bernoulli_nll_backward, read_bernoulli>(m, "bernoulli_nll");
  implement_loss<&K::gaussian_entropy_forward, &K::gaussian_entropy_backward, read_scale>(m, "gaussian_entropy");
}

}  // namespace genkern::likelihood_op
