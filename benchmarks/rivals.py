"""What genkern is measured against: the formulas as people write them, and what torch itself offers.

Each returns a tuple of outputs. Noise is drawn inside, so every side pays for its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as torch_functional

Outputs = tuple[Tensor, ...]

_LOG_TWO_PI = math.log(2 * math.pi)


# By hand; torch.compile compiles these.


def rsample_kl(loc: Tensor, logvar: Tensor) -> Outputs:
    z = loc + torch.exp(0.5 * logvar) * torch.randn_like(loc)
    kl = -0.5 * torch.sum(1 + logvar - loc.pow(2) - logvar.exp(), dim=1)
    return z, kl


def rsample_kl_packed(moments: Tensor) -> Outputs:
    loc, logvar = moments.chunk(2, dim=1)
    z = loc + torch.exp(0.5 * logvar) * torch.randn_like(loc)
    kl = -0.5 * torch.sum((1 + logvar - loc.pow(2) - logvar.exp()).flatten(1), dim=1)
    return z, kl


def residual_rsample_kl(prior_loc: Tensor, prior_logvar: Tensor, delta_loc: Tensor, delta_logvar: Tensor) -> Outputs:
    """A level of NVAE or VDVAE: q = prior + residual made explicit, then a KL and two densities of Gaussians."""
    loc, std = prior_loc + delta_loc, torch.exp(0.5 * (prior_logvar + delta_logvar))
    prior_std = torch.exp(0.5 * prior_logvar)
    z = loc + std * torch.randn_like(loc)
    ratio = std / prior_std
    kl = 0.5 * (((loc - prior_loc) / prior_std).pow(2) + ratio.pow(2)) - 0.5 - torch.log(ratio)
    log_q = -0.5 * ((z - loc) / std).pow(2) - 0.5 * _LOG_TWO_PI - torch.log(std)
    log_p = -0.5 * ((z - prior_loc) / prior_std).pow(2) - 0.5 * _LOG_TWO_PI - torch.log(prior_std)
    return z, kl.sum(dim=1), log_q.sum(dim=1), log_p.sum(dim=1)


def kl(loc: Tensor, logvar: Tensor) -> Outputs:
    return (-0.5 * torch.sum(1 + logvar - loc.pow(2) - logvar.exp(), dim=1),)


def rsample(loc: Tensor, logvar: Tensor) -> Outputs:
    return (loc + torch.exp(0.5 * logvar) * torch.randn_like(loc),)


def nll(x: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    """`logvar` per element, or a 0-dim parameter."""
    return (0.5 * torch.sum(logvar + (x - loc).pow(2) / logvar.exp() + _LOG_TWO_PI, dim=1),)


# torch.distributions, with its default validation of arguments.


def distributions_rsample_kl(loc: Tensor, logvar: Tensor) -> Outputs:
    q = Normal(loc, torch.exp(0.5 * logvar))
    return q.rsample(), kl_divergence(q, Normal(0.0, 1.0)).sum(dim=1)


def distributions_rsample_kl_packed(moments: Tensor) -> Outputs:
    loc, logvar = moments.chunk(2, dim=1)
    q = Normal(loc, torch.exp(0.5 * logvar))
    return q.rsample(), kl_divergence(q, Normal(0.0, 1.0)).flatten(1).sum(dim=1)


def distributions_residual_rsample_kl(
    prior_loc: Tensor, prior_logvar: Tensor, delta_loc: Tensor, delta_logvar: Tensor
) -> Outputs:
    p = Normal(prior_loc, torch.exp(0.5 * prior_logvar))
    q = Normal(prior_loc + delta_loc, torch.exp(0.5 * (prior_logvar + delta_logvar)))
    z = q.rsample()
    return z, kl_divergence(q, p).sum(dim=1), q.log_prob(z).sum(dim=1), p.log_prob(z).sum(dim=1)


def distributions_kl(loc: Tensor, logvar: Tensor) -> Outputs:
    return (kl_divergence(Normal(loc, torch.exp(0.5 * logvar)), Normal(0.0, 1.0)).sum(dim=1),)


def distributions_rsample(loc: Tensor, logvar: Tensor) -> Outputs:
    return (Normal(loc, torch.exp(0.5 * logvar)).rsample(),)


def distributions_nll(x: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    return (-Normal(loc, torch.exp(0.5 * logvar)).log_prob(x).sum(dim=1),)


# torch's own function of the same meaning.


def torch_nll(x: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    """It takes a variance of the input's shape, so a 0-dim one is expanded; its reductions are not per datum."""
    variance = logvar.exp().expand_as(x)
    return (torch_functional.gaussian_nll_loss(loc, x, variance, full=True, reduction="none").sum(dim=1),)


def torch_normal(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Outputs:
    return (torch.randn(shape, dtype=dtype, device=device),)
