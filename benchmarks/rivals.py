"""What genkern is measured against: the formulas as people write them, and what torch itself offers.

Each returns a tuple of outputs. Noise is drawn inside, so every side pays for its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    NegativeBinomial,
    Normal,
    RelaxedOneHotCategorical,
    kl_divergence,
)
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


def laplace_nll(x: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    return (torch.sum((x - loc).abs() * torch.exp(-0.5 * logvar) + 0.5 * logvar + math.log(2), dim=1),)


def bernoulli_nll(x: Tensor, logits: Tensor) -> Outputs:
    return (torch.sum(logits.clamp(min=0) - logits * x + torch.log1p(torch.exp(-logits.abs())), dim=1),)


def _approximate_cdf(z: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z.pow(3))))


def _rounded_nll(x: Tensor, loc: Tensor, logvar: Tensor, cdf: Callable[[Tensor], Tensor]) -> Outputs:
    """As guided-diffusion has it, with its floor under the mass, which is off in the tails."""
    inverse = torch.exp(-0.5 * logvar)
    plus, minus = cdf(inverse * (x - loc + 1 / 255)), cdf(inverse * (x - loc - 1 / 255))
    log_plus, log_rest = plus.clamp(min=1e-12).log(), (1 - minus).clamp(min=1e-12).log()
    inside = (plus - minus).clamp(min=1e-12).log()
    return (-torch.where(x < -0.999, log_plus, torch.where(x > 0.999, log_rest, inside)).sum(dim=1),)


def discretized_gaussian_nll(x: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    return _rounded_nll(x, loc, logvar, torch.special.ndtr)


def discretized_gaussian_nll_tanh(x: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    return _rounded_nll(x, loc, logvar, _approximate_cdf)


def logistic_mixture_nll(x: Tensor, params: Tensor) -> Outputs:
    """PixelCNN++: a difference of sigmoids, in the tails that of softplus, the density where a mass is tiny."""
    mixtures = params.shape[1] // 10
    logits, rest = params[:, :mixtures], params[:, mixtures:].unflatten(1, (3, 3 * mixtures))
    means, log_scales, raw = rest.split(mixtures, dim=2)
    log_scales, coefficients, x = log_scales.clamp(min=-7.0), torch.tanh(raw), x.unsqueeze(2)
    green = means[:, 1] + coefficients[:, 0] * x[:, 0]
    blue = means[:, 2] + coefficients[:, 1] * x[:, 0] + coefficients[:, 2] * x[:, 1]
    centred = x - torch.stack((means[:, 0], green, blue), dim=1)
    inverse = torch.exp(-log_scales)
    above, below, middle = inverse * (centred + 1 / 255), inverse * (centred - 1 / 255), inverse * centred
    mass = torch.sigmoid(above) - torch.sigmoid(below)
    density = middle - log_scales - 2 * torch_functional.softplus(middle) - math.log(127.5)
    inside = torch.where(mass > 1e-5, torch.log(mass.clamp(min=1e-12)), density)
    first, last = above - torch_functional.softplus(above), -torch_functional.softplus(below)
    log_mass = torch.where(x < -0.999, first, torch.where(x > 0.999, last, inside)).sum(dim=1)
    log_prob = torch.logsumexp(log_mass + torch.log_softmax(logits, dim=1), dim=1)
    return (-log_prob.flatten(1).sum(dim=1),)


def discrete_entropy(p: Tensor) -> Outputs:
    return (-torch.xlogy(p, p).sum(dim=-1),)


def discrete_kl(p: Tensor, q: Tensor) -> Outputs:
    return ((p * torch.log(p / q)).sum(dim=-1),)


def categorical_entropy(logits: Tensor) -> Outputs:
    log_q = torch.log_softmax(logits, dim=-1)
    return (-(log_q.exp() * log_q).sum(dim=-1),)


def categorical_kl(logits_q: Tensor, logits_p: Tensor) -> Outputs:
    log_q, log_p = torch.log_softmax(logits_q, dim=-1), torch.log_softmax(logits_p, dim=-1)
    return ((log_q.exp() * (log_q - log_p)).sum(dim=-1),)


def balanced_kl(logits_q: Tensor, logits_p: Tensor) -> Outputs:
    """DreamerV3: 1 % uniform, a free nat for all variables of a state, each side held fixed for the other's loss."""

    def mixed(logits: Tensor) -> Tensor:
        return 0.99 * torch.softmax(logits, dim=-1) + 0.01 / logits.shape[-1]

    def divergence(q: Tensor, p: Tensor) -> Tensor:
        return (q * (torch.log(q) - torch.log(p))).flatten(1).sum(dim=1).clamp(min=1.0)

    q, p = mixed(logits_q), mixed(logits_p)
    return (0.5 * divergence(q.detach(), p) + 0.1 * divergence(q, p.detach()),)


def gumbel_softmax(logits: Tensor) -> Outputs:
    noise = -torch.log(-torch.log(torch.rand_like(logits).clamp(min=1e-10)))
    return (torch.softmax(logits + noise, dim=-1),)


def mixture(z: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    return (torch.logsumexp(_pair_densities(z, loc, logvar).sum(dim=2), dim=1) - math.log(len(loc)),)


def mixture_marginals(z: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    each = _pair_densities(z, loc, logvar)
    joint = torch.logsumexp(each.sum(dim=2), dim=1) - math.log(len(loc))
    return joint, (torch.logsumexp(each, dim=1) - math.log(len(loc))).sum(dim=1)


DATASET_SIZE = 50_000


def total_correlation(z: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    """By minibatch stratified sampling, with the matrix of log weights that its users make (Chen et al. 2018)."""
    batch, others = len(z), max(len(z) - 1, 1)
    weights = torch.full((batch, batch), 1 / others, dtype=z.dtype, device=z.device)
    rows = torch.arange(batch, device=z.device)
    weights[rows, rows] = 1 / DATASET_SIZE
    weights[rows, (rows + 1) % batch] = (DATASET_SIZE - others) / (DATASET_SIZE * others)
    log_weights = weights.log()
    each = _pair_densities(z, loc, logvar)
    log_q = torch.logsumexp(log_weights + each.sum(dim=2), dim=1)
    marginal = torch.logsumexp(log_weights.unsqueeze(2) + each, dim=1).sum(dim=1)
    log_q_x = -0.5 * ((z - loc).pow(2) / logvar.exp() + logvar + _LOG_TWO_PI).sum(dim=1)
    log_p = -0.5 * (z.pow(2) + _LOG_TWO_PI).sum(dim=1)
    return log_q_x - log_q, log_q - marginal, marginal - log_p


def _pair_densities(z: Tensor, loc: Tensor, logvar: Tensor) -> Tensor:
    """log N(z_bd; loc_cd, exp(logvar_cd)), [B, C, D] numbers."""
    return -0.5 * ((z.unsqueeze(1) - loc).pow(2) / logvar.exp() + logvar + _LOG_TWO_PI)


def imq_scales(x: Tensor) -> list[float]:
    """Of a Wasserstein auto-encoder (Tolstikhin et al. 2018)."""
    return [2 * x.shape[1] * factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]


def mmd(x: Tensor, y: Tensor) -> Outputs:
    return (_mmd(x, y, lambda a, b: (a.unsqueeze(1) - b).pow(2).sum(dim=2)),)


def _mmd(x: Tensor, y: Tensor, squared_distances: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    def mean(a: Tensor, b: Tensor) -> Tensor:
        squared = squared_distances(a, b)
        return torch.stack([(s / (s + squared)).mean() for s in imq_scales(x)]).sum()

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def hinge_loss(real: Tensor, fake: Tensor) -> Outputs:
    return (torch.relu(1 - real).mean() + torch.relu(1 + fake).mean(),)


def non_saturating_loss(real: Tensor, fake: Tensor) -> Outputs:
    return (torch_functional.softplus(-real).mean() + torch_functional.softplus(fake).mean(),)


def relativistic_loss(real: Tensor, fake: Tensor) -> Outputs:
    return (torch_functional.softplus(fake - real).mean(),)


def interpolate(real: Tensor, fake: Tensor) -> Outputs:
    eps = torch.rand(len(real), *[1] * (real.ndim - 1), dtype=real.dtype, device=real.device)
    return (eps * real + (1 - eps) * fake,)


def gradient_norm_penalty(grad: Tensor) -> Outputs:
    return ((grad.flatten(1).norm(2, dim=1) - 1).pow(2).mean(),)


def zero_centered_penalty(grad: Tensor) -> Outputs:
    return (grad.flatten(1).square().sum(dim=1).mean(),)


def minibatch_stddev(x: Tensor) -> Outputs:
    """StyleGAN2 and StyleGAN3, which ask that the group divide the batch."""
    group = min(4, len(x))
    y = x.reshape(group, len(x) // group, -1)
    y = ((y - y.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=1)
    y = y.reshape(-1, *[1] * (x.ndim - 1)).repeat(group, 1, *x.shape[2:])
    return (torch.cat([x, y], dim=1),)


def negative_binomial(x: Tensor, mean: Tensor, theta: Tensor) -> Outputs:
    """As scvi-tools has it."""
    eps = 1e-8
    log_sum = torch.log(theta + mean + eps)
    log_prob = (
        theta * (torch.log(theta + eps) - log_sum)
        + x * (torch.log(mean + eps) - log_sum)
        + torch.lgamma(x + theta)
        - torch.lgamma(theta)
        - torch.lgamma(x + 1)
    )
    return (-log_prob.sum(dim=1),)


def zero_inflated_negative_binomial(x: Tensor, mean: Tensor, theta: Tensor, logits: Tensor) -> Outputs:
    """As scvi-tools has it."""
    eps = 1e-8
    softplus = torch_functional.softplus(-logits)
    log_theta, log_sum = torch.log(theta + eps), torch.log(theta + mean + eps)
    of_zero = -logits + theta * (log_theta - log_sum)
    at_zero = torch_functional.softplus(of_zero) - softplus
    beyond = (
        -softplus
        + of_zero
        + x * (torch.log(mean + eps) - log_sum)
        + torch.lgamma(x + theta)
        - torch.lgamma(theta)
        - torch.lgamma(x + 1)
    )
    log_prob = (x < eps).to(x.dtype) * at_zero + (x > eps).to(x.dtype) * beyond
    return (-log_prob.sum(dim=1),)


def ema_update(averages: Sequence[Tensor], values: Sequence[Tensor]) -> Outputs:
    with torch.no_grad():
        for average, value in zip(averages, values, strict=True):
            average.lerp_(value, 1 - EMA_DECAY)
    return tuple(averages)


EMA_DECAY = 0.999


# torch.distributions, without its validation of arguments: torch.compile switches that off in a process that uses it.

Distribution.set_default_validate_args(False)


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


def distributions_laplace_nll(x: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    return (-Laplace(loc, torch.exp(0.5 * logvar)).log_prob(x).sum(dim=1),)


def distributions_bernoulli_nll(x: Tensor, logits: Tensor) -> Outputs:
    return (-Bernoulli(logits=logits).log_prob(x).sum(dim=1),)


def distributions_categorical_entropy(logits: Tensor) -> Outputs:
    return (Categorical(logits=logits).entropy(),)


def distributions_categorical_kl(logits_q: Tensor, logits_p: Tensor) -> Outputs:
    return (kl_divergence(Categorical(logits=logits_q), Categorical(logits=logits_p)),)


def distributions_gumbel_softmax(logits: Tensor) -> Outputs:
    return (RelaxedOneHotCategorical(torch.ones((), device=logits.device), logits=logits).rsample(),)


def distributions_negative_binomial(x: Tensor, mean: Tensor, theta: Tensor) -> Outputs:
    return (-NegativeBinomial(theta, logits=torch.log(mean) - torch.log(theta)).log_prob(x).sum(dim=1),)


def distributions_mixture(z: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    parts = Independent(Normal(loc, torch.exp(0.5 * logvar)), 1)
    weights = Categorical(logits=torch.zeros(len(loc), dtype=loc.dtype, device=loc.device))
    return (MixtureSameFamily(weights, parts).log_prob(z),)


# torch's own function of the same meaning, or of what takes the time in it.


def torch_bernoulli_nll(x: Tensor, logits: Tensor) -> Outputs:
    return (torch_functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(dim=1),)


def torch_discrete_kl(p: Tensor, q: Tensor) -> Outputs:
    return (torch_functional.kl_div(torch.log(q), p, reduction="none").sum(dim=-1),)


def torch_categorical_kl(logits_q: Tensor, logits_p: Tensor) -> Outputs:
    log_q, log_p = torch.log_softmax(logits_q, dim=-1), torch.log_softmax(logits_p, dim=-1)
    return (torch_functional.kl_div(log_p, log_q, reduction="none", log_target=True).sum(dim=-1),)


def torch_gumbel_softmax(logits: Tensor) -> Outputs:
    return (torch_functional.gumbel_softmax(logits),)


def torch_nll(x: Tensor, loc: Tensor, logvar: Tensor) -> Outputs:
    """It takes a variance of the input's shape, so a 0-dim one is expanded; its reductions are not per datum."""
    variance = logvar.exp().expand_as(x)
    return (torch_functional.gaussian_nll_loss(loc, x, variance, full=True, reduction="none").sum(dim=1),)


def torch_mmd(x: Tensor, y: Tensor) -> Outputs:
    """Distances by torch.cdist: products of matrices, of which near points lose digits."""
    return (_mmd(x, y, lambda a, b: torch.cdist(a, b).pow(2)),)


def torch_non_saturating_loss(real: Tensor, fake: Tensor) -> Outputs:
    ones, zeros = torch.ones_like(real), torch.zeros_like(fake)
    loss = torch_functional.binary_cross_entropy_with_logits
    return (loss(real, ones) + loss(fake, zeros),)


def torch_ema_update(averages: Sequence[Tensor], values: Sequence[Tensor]) -> Outputs:
    with torch.no_grad():
        torch._foreach_lerp_(averages, values, 1 - EMA_DECAY)
    return tuple(averages)


def torch_normal(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Outputs:
    return (torch.randn(shape, dtype=dtype, device=device),)


def torch_uniform(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Outputs:
    return (torch.rand(shape, dtype=dtype, device=device),)


# Liger-Kernel's, on a GPU where it is installed: of rows of classes, a loss each class, no gradient to the target.


def liger_discrete_kl(p: Tensor, q: Tensor) -> Outputs:
    return (_liger_kl(torch.log(q), p, log_target=False),)


def liger_categorical_kl(logits_q: Tensor, logits_p: Tensor) -> Outputs:
    log_q, log_p = torch.log_softmax(logits_q, dim=-1), torch.log_softmax(logits_p, dim=-1)
    return (_liger_kl(log_p, log_q, log_target=True),)


def _liger_kl(predicted: Tensor, target: Tensor, log_target: bool) -> Tensor:
    from liger_kernel.transformers import LigerKLDIVLoss

    loss = LigerKLDIVLoss(reduction="none", log_target=log_target)
    return loss(predicted.flatten(0, -2), target.flatten(0, -2)).sum(dim=-1).view(target.shape[:-1])
