"""The Gaussian family in plain torch.

Sources: Kingma & Welling 2014 (reparameterisation; the KL to N(0, I) of appendix B); the KL between two
Gaussians and the entropy are textbook (Cover & Thomas 2006, chapter 8).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference import scale as _scale
from genkern.reference.definition import Definition
from genkern.reference.options import Divergence, Loss, Result, Sampling, Sigma
from genkern.reference.random import random_normal
from genkern.reference.reduce import at_least, reduce

LOG_2PI = math.log(2 * math.pi)


@Definition
def gaussian_rsample(
    loc: Tensor, scale: Tensor, key: Tensor | None, eps: Tensor | None, sampling: Sampling, sigma: Sigma
) -> Iterator[Any]:
    """z = loc + temperature * sigma * eps."""
    _checks.tensors(loc=loc, scale=scale)
    shape = _checks.broadcast(loc=loc, scale=scale)
    sampling.check()
    shape = torch.Size((*sampling.sample_shape, *shape))
    _checks.noise(key, eps, shape, loc=loc, scale=scale)
    sigma.check()
    sample = Result(shape, torch.promote_types(loc.dtype, scale.dtype), loc.device, loc)
    yield sample
    dtype = _checks.compute_dtype(loc, scale)
    if eps is None:
        assert key is not None
        eps = random_normal(key, sample.shape, dtype, sampling.element_offset, loc.device)
    std = _scale.std(_scale.clamp(scale.to(dtype), sigma), sigma)
    z = loc.to(dtype) + std * (sampling.temperature * eps.to(dtype))
    yield z.to(sample.dtype)


@Definition
def gaussian_kl(
    loc: Tensor,
    scale: Tensor,
    prior_loc: Tensor | None,
    prior_scale: Tensor | None,
    sigma: Sigma,
    divergence: Divergence,
    loss: Loss,
) -> Iterator[Any]:
    """KL(q || p) = 1/2 (exp(d) - 1 - d + (delta / sigma_p)^2) with d = log sigma_q^2 / sigma_p^2; p None: N(0, I)."""
    given = {"loc": loc, "scale": scale, "prior_loc": prior_loc, "prior_scale": prior_scale}
    _checks.tensors(**given, optional=("prior_loc", "prior_scale"))
    sigma.check()
    divergence.check()
    kl = loss.result(_checks.broadcast(**given), *given.values())
    yield kl

    def raw_scale(raw: Tensor, gradient: float) -> Tensor:
        return _scale.clamp(_scale.scale_gradient(raw.to(kl.dtype), gradient), sigma)

    raw_q = raw_scale(scale, divergence.grad_scale_q)
    delta = _scale.scale_gradient(loc.to(kl.dtype), divergence.grad_scale_q)
    if prior_loc is not None:
        delta = delta - _scale.scale_gradient(prior_loc.to(kl.dtype), divergence.grad_scale_p)
    if prior_scale is None:
        log_ratio = _scale.logvar(raw_q, sigma)
    else:
        raw_p = raw_scale(prior_scale, divergence.grad_scale_p)
        log_ratio = _log_variance_ratio(raw_q, raw_p, sigma)
        delta = standardised(delta, raw_p, sigma)
    elements = 0.5 * (expm1_minus(log_ratio) + delta * delta)
    elements = elements.expand(kl.elements)
    if divergence.free_bits:
        elements = at_least(elements, divergence.free_bits, loss.units)
    yield reduce(elements, loss)


@Definition
def gaussian_rsample_kl(
    loc: Tensor,
    scale: Tensor,
    prior_loc: Tensor | None,
    prior_scale: Tensor | None,
    key: Tensor | None,
    eps: Tensor | None,
    sampling: Sampling,
    sigma: Sigma,
    divergence: Divergence,
    loss: Loss,
) -> Iterator[Any]:
    """A sample of q and KL(q || p)."""
    parameters = loc, scale, prior_loc, prior_scale
    prior = {"prior_loc": prior_loc, "prior_scale": prior_scale}
    _checks.tensors(loc=loc, scale=scale, **prior, optional=prior)
    sample = gaussian_rsample.results(loc, scale, key, eps, sampling, sigma)
    _checks.within(_checks.broadcast(loc=loc, scale=scale), "loc and scale", **prior)
    yield sample, gaussian_kl.results(*parameters, sigma, divergence, loss)
    z = gaussian_rsample(loc, scale, key, eps, sampling, sigma)
    yield z, gaussian_kl(*parameters, sigma, divergence, loss)


@Definition
def gaussian_rsample_kl_packed(
    moments: Tensor,
    chunk_dim: int,
    latent: int | None,
    key: Tensor | None,
    eps: Tensor | None,
    sampling: Sampling,
    sigma: Sigma,
    divergence: Divergence,
    loss: Loss,
) -> Iterator[Any]:
    """The same with loc and scale side by side along `chunk_dim`."""
    loc, scale = unpack(moments, chunk_dim, latent)
    arguments = loc, scale, None, None, key, eps, sampling, sigma, divergence, loss
    yield gaussian_rsample_kl.results(*arguments)
    yield gaussian_rsample_kl(*arguments)


def unpack(moments: Tensor, chunk_dim: int, latent: int | None) -> tuple[Tensor, Tensor]:
    """The loc and scale views of a packed tensor: `latent` channels of loc, then as many of scale, or one for all."""
    _checks.tensor("moments", moments)
    chunk_dim = _checks.integer("chunk_dim", chunk_dim)
    latent = _checks.integer("latent_channels", latent, optional=True, minimum=1)
    if not -moments.dim() <= chunk_dim < moments.dim():
        raise ValueError(
            f"chunk_dim: expected a dimension of moments {_checks.shape_text(moments.shape)}, got {chunk_dim}"
        )
    channels = moments.shape[chunk_dim]
    if latent is None:
        latent = channels - 1 if channels % 2 else channels // 2
    if latent < 1 or channels not in (2 * latent, latent + 1):
        raise ValueError(
            f"moments: expected {2 * latent} or {latent + 1} channels along dimension {chunk_dim}, got {channels}"
            if latent >= 1
            else f"moments: expected at least 2 channels along dimension {chunk_dim}, got {channels}"
        )
    loc, scale = moments.split((latent, channels - latent), chunk_dim)
    return loc, scale


def nll_result(
    x: Tensor, loc: Tensor, scale: Tensor | None, scale_value: float, full: bool, sigma: Sigma, loss: Loss
) -> Result:
    """The likelihood of any distribution with a location and a scale."""
    _checks.tensors(x=x, loc=loc, scale=scale, optional=("scale",))
    _checks.number("scale", scale_value)
    _checks.boolean("full", full)
    sigma.check()
    return loss.result(_checks.broadcast(x=x, loc=loc, scale=scale), x, loc, scale)


@Definition
def gaussian_nll(
    x: Tensor, loc: Tensor, scale: Tensor | None, scale_value: float, full: bool, sigma: Sigma, loss: Loss
) -> Iterator[Any]:
    """1/2 ((x - loc)^2 / sigma^2 + log sigma^2 + log 2 pi), the last term if `full`."""
    nll = nll_result(x, loc, scale, scale_value, full, sigma, loss)
    yield nll
    raw = _scale.clamp(_scale.raw(x, scale, scale_value, nll.dtype), sigma)
    delta = standardised(x.to(nll.dtype) - loc.to(nll.dtype), raw, sigma)
    elements = 0.5 * delta * delta + 0.5 * _scale.logvar(raw, sigma)
    if full:
        elements = elements + 0.5 * LOG_2PI
    yield reduce(elements.expand(nll.elements), loss)


@Definition
def gaussian_entropy(scale: Tensor, sigma: Sigma, loss: Loss) -> Iterator[Any]:
    """1/2 (1 + log 2 pi + log sigma^2)."""
    _checks.tensor("scale", scale)
    sigma.check()
    entropy = loss.result(scale.shape, scale)
    yield entropy
    raw = _scale.clamp(scale.to(entropy.dtype), sigma)
    yield reduce(0.5 * (_scale.logvar(raw, sigma) + (1 + LOG_2PI)), loss)


def expm1_minus(x: Tensor) -> Tensor:
    """exp(x) - 1 - x, by its series near 0, where the difference would lose every digit."""
    near = x.abs() < 1
    inner = torch.where(
        near, x, torch.zeros_like(x)
    )  # each branch sees only its own range, or 0: no nan * 0 in gradients
    outer = torch.where(near, torch.zeros_like(x), x)
    terms = 17 if x.dtype == torch.float64 else 10
    series = torch.full_like(x, 1 / math.factorial(terms + 1))
    for k in range(terms, 1, -1):
        series = series * inner + 1 / math.factorial(k)
    # Above 100 the last term is lost in rounding; left out, it spares infinity the difference inf - inf.
    last = torch.where(outer < 100, outer, torch.zeros_like(x))
    return torch.where(near, inner * inner * series, torch.expm1(outer) - last)


def _log_variance_ratio(raw_q: Tensor, raw_p: Tensor, sigma: Sigma) -> Tensor:
    """log(sigma_q^2 / sigma_p^2), accurate where the two are nearly equal."""
    if sigma.scale_offset == 0 and sigma.scale_param in _scale.LOG_PARAMS:
        return (raw_q - raw_p) * (1 if sigma.scale_param == "logvar" else 2)
    far = _scale.exponential(torch.maximum(raw_q, raw_p), sigma)
    if far:
        logvar_q, logvar_p = (_scale.logvar(raw, sigma) for raw in (raw_q, raw_p))
        raw_q, raw_p = (torch.where(far[0], 0.0, raw) for raw in (raw_q, raw_p))
    sigma_q, sigma_p = (_scale.std(raw, sigma) for raw in (raw_q, raw_p))
    relative = (sigma_q - sigma_p) / sigma_p
    near = relative.abs() < 0.5
    inner = torch.where(near, relative, torch.zeros_like(relative))
    ratio = torch.where(near, torch.ones_like(relative), sigma_q / sigma_p)
    value = 2 * torch.where(near, torch.log1p(inner), torch.log(ratio))
    return torch.where(far[0], logvar_q - logvar_p, value) if far else value


def standardised(delta: Tensor, raw: Tensor, sigma: Sigma) -> Tensor:
    """delta / sigma. A distance of 0 is 0 sigmas, even where 1 / sigma is infinite: the scale takes no part in it."""
    largest = torch.finfo(raw.dtype).max
    if sigma.scale_offset == 0 and sigma.scale_param in _scale.LOG_PARAMS:
        exponent = raw * (-0.5 if sigma.scale_param == "logvar" else -1.0)
        beyond = (exponent > math.log(largest)) & (delta == 0)
        return delta * torch.where(beyond, largest, torch.exp(torch.where(beyond, 0.0, exponent)))
    far = _scale.exponential(raw, sigma)
    if far:
        there, exponential = far
        alone = standardised(delta, torch.where(there, raw, 0.0), exponential)
        raw = torch.where(there, 0.0, raw)
    std = _scale.std(raw, sigma)
    beyond = (std.abs() < 1 / _scale.squarable(raw.dtype)) & (delta == 0)  # the derivative by sigma has its square
    rate = torch.where(beyond, (1 / std.detach()).clamp(-largest, largest), 1.0)
    value = delta * rate / torch.where(beyond, 1.0, std)
    return torch.where(there, alone, value) if far else value
