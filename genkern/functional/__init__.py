"""The public operations, one module a family."""

from genkern.functional.bounds import LogMeanExp, importance_weighted_bound, log_mean_exp
from genkern.functional.counts import poisson_nll
from genkern.functional.discrete import (
    categorical_entropy,
    categorical_kl,
    discrete_entropy,
    discrete_kl,
    gumbel_softmax,
)
from genkern.functional.gan import (
    ema_update_,
    gan_discriminator_loss,
    gan_generator_loss,
    gradient_norm_penalty,
    interpolate,
    minibatch_stddev,
    zero_centered_penalty,
)
from genkern.functional.gaussian import (
    gaussian_entropy,
    gaussian_kl,
    gaussian_log_prob,
    gaussian_nll,
    gaussian_rsample,
    gaussian_rsample_kl,
    gaussian_rsample_kl_packed,
)
from genkern.functional.hierarchical import gaussian_residual_rsample_kl
from genkern.functional.likelihood import bernoulli_nll, discretized_gaussian_nll, laplace_nll
from genkern.functional.logistic_mixture import discretized_logistic_mixture_nll, discretized_logistic_mixture_sample
from genkern.functional.mixture import gaussian_mixture_log_prob, kde_log_prob, total_correlation
from genkern.functional.mmd import mmd

__all__ = [
    "LogMeanExp",
    "bernoulli_nll",
    "categorical_entropy",
    "categorical_kl",
    "discrete_entropy",
    "discrete_kl",
    "discretized_gaussian_nll",
    "discretized_logistic_mixture_nll",
    "discretized_logistic_mixture_sample",
    "ema_update_",
    "gan_discriminator_loss",
    "gan_generator_loss",
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_mixture_log_prob",
    "gaussian_nll",
    "gaussian_residual_rsample_kl",
    "gaussian_rsample",
    "gaussian_rsample_kl",
    "gaussian_rsample_kl_packed",
    "gradient_norm_penalty",
    "gumbel_softmax",
    "importance_weighted_bound",
    "interpolate",
    "kde_log_prob",
    "laplace_nll",
    "log_mean_exp",
    "minibatch_stddev",
    "mmd",
    "poisson_nll",
    "total_correlation",
    "zero_centered_penalty",
]
