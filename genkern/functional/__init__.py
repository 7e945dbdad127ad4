"""The public operations, one module a family."""

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

__all__ = [
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_nll",
    "gaussian_residual_rsample_kl",
    "gaussian_rsample",
    "gaussian_rsample_kl",
    "gaussian_rsample_kl_packed",
]
