// Likelihoods of counts: their options.
#include "ops/loss.h"

namespace genkern::counts_op {

void read_poisson(Terms<2>& a, Arguments& arguments) {
  static constexpr std::pair<const char*, bool> params[] = {{"rate", false}, {"log", true}};
  a.options.log_rate = choose(arguments.text(), params);
  a.options.full = arguments.boolean();
}

template <int N>
void read_negative_binomial(Terms<N>& a, Arguments& arguments) {
  static constexpr std::pair<const char*, MeanParam> means[] = {
      {"mean", MeanParam::value}, {"log", MeanParam::log}, {"logits", MeanParam::logits}};
  static constexpr std::pair<const char*, bool> dispersions[] = {{"value", false}, {"log", true}};
  a.options.mean = choose(arguments.text(), means);
  a.options.log_dispersion = choose(arguments.text(), dispersions);
}

template <auto forward, auto backward, auto read>
using CountLoss = ElementwiseLoss<forward, backward, read, true>;

using K = Kernels;

GENKERN_OPS(m) {
  implement_loss<CountLoss<&K::poisson_nll_forward, &K::poisson_nll_backward, read_poisson>>(m, "poisson_nll");
  implement_loss<
      CountLoss<&K::negative_binomial_nll_forward, &K::negative_binomial_nll_backward, read_negative_binomial<3>>>(
      m, "negative_binomial_nll");
  implement_loss<CountLoss<&K::zero_inflated_negative_binomial_nll_forward,
                           &K::zero_inflated_negative_binomial_nll_backward, read_negative_binomial<4>>>(
      m, "zero_inflated_negative_binomial_nll");
}

}  // namespace genkern::counts_op
