"""The Gaussian family in plain torch.

Sources: Kingma & Welling 2014 (reparameterisation; the KL to N(0, I) of appendix B); the KL between two
Gaussians and the entropy are textbook (Cover & Thomas 2006, chapter 8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference import scale as _scale
from genkern.reference.random import random_normal
from genkern.reference.reduce import at_least, reduce

LOG_2PI = math.log(2 * math.pi)


def gaussian_rsample(
    loc: Tensor,
    scale: Tensor,
    key: Tensor | None,
    eps: Tensor | None,
    *,
    sample_shape: Sequence[int] = (),
    temperature: float = 1.0,
    element_offset: int = 0,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
) -> Tensor:
    """z = loc + temperature * sigma * eps."""
    check_sample(loc, scale, key, eps, sample_shape, temperature, element_offset)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    shape = torch.broadcast_shapes(loc.shape, scale.shape)
    dtype = _checks.compute_dtype(loc, scale)
    noise_shape = (*sample_shape, *shape)
    if eps is None:
        assert key is not None
        eps = random_normal(key, noise_shape, dtype, element_offset, loc.device)
    raw = _scale.clamp(scale.to(dtype), clamp_lo, clamp_hi, clamp_mode)
    sigma = _scale.std(raw, scale_param, scale_offset)
    z = loc.to(dtype) + sigma * (temperature * eps.to(dtype))
    return z.to(torch.promote_types(loc.dtype, scale.dtype))


def gaussian_kl(
    loc: Tensor,
    scale: Tensor,
    prior_loc: Tensor | None,
    prior_scale: Tensor | None,
    *,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    free_bits: float = 0.0,
    grad_scale_q: float = 1.0,
    grad_scale_p: float = 1.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """KL(q || p) = 1/2 (exp(d) - 1 - d + (delta / sigma_p)^2) with d = log sigma_q^2 / sigma_p^2; p None: N(0, I)."""
    check_kl(loc, scale, prior_loc, prior_scale)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    check_kl_options(free_bits, grad_scale_q, grad_scale_p)
    shape = _checks.broadcast(loc=loc, scale=scale, prior_loc=prior_loc, prior_scale=prior_scale)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(loc, scale, prior_loc, prior_scale)

    def raw_scale(raw: Tensor, gradient: float) -> Tensor:
        scaled = _scale.scale_gradient(raw.to(dtype), gradient)
        return _scale.clamp(scaled, clamp_lo, clamp_hi, clamp_mode)

    raw_q = raw_scale(scale, grad_scale_q)
    delta = _scale.scale_gradient(loc.to(dtype), grad_scale_q)
    if prior_loc is not None:
        delta = delta - _scale.scale_gradient(prior_loc.to(dtype), grad_scale_p)
    if prior_scale is None:
        log_ratio = _scale.logvar(raw_q, scale_param, scale_offset)
    else:
        raw_p = raw_scale(prior_scale, grad_scale_p)
        log_ratio = _log_variance_ratio(raw_q, raw_p, scale_param, scale_offset)
        delta = standardised(delta, raw_p, scale_param, scale_offset)
    elements = 0.5 * (expm1_minus(log_ratio) + delta * delta)
    elements = elements.expand(shape)
    if free_bits:
        elements = at_least(elements, free_bits, units)
    return reduce(elements, reduction, units, event_ndim)


def gaussian_rsample_kl(
    loc: Tensor,
    scale: Tensor,
    prior_loc: Tensor | None,
    prior_scale: Tensor | None,
    key: Tensor | None,
    eps: Tensor | None,
    *,
    sample_shape: Sequence[int] = (),
    temperature: float = 1.0,
    element_offset: int = 0,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    free_bits: float = 0.0,
    grad_scale_q: float = 1.0,
    grad_scale_p: float = 1.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> tuple[Tensor, Tensor]:
    """A sample of q and KL(q || p)."""
    check_kl(loc, scale, prior_loc, prior_scale)
    parameter: dict[str, Any] = {
        "scale_param": scale_param,
        "scale_offset": scale_offset,
        "clamp_lo": clamp_lo,
        "clamp_hi": clamp_hi,
        "clamp_mode": clamp_mode,
    }
    z = gaussian_rsample(
        loc,
        scale,
        key,
        eps,
        sample_shape=sample_shape,
        temperature=temperature,
        element_offset=element_offset,
        **parameter,
    )
    shape = _checks.broadcast(loc=loc, scale=scale)
    _checks.within(shape, "loc and scale", prior_loc=prior_loc, prior_scale=prior_scale)
    kl = gaussian_kl(
        loc,
        scale,
        prior_loc,
        prior_scale,
        free_bits=free_bits,
        grad_scale_q=grad_scale_q,
        grad_scale_p=grad_scale_p,
        reduction=reduction,
        units=units,
        event_ndim=event_ndim,
        **parameter,
    )
    return z, kl


def gaussian_rsample_kl_packed(
    moments: Tensor, chunk_dim: int, latent: int | None, key: Tensor | None, eps: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor]:
    """The same with loc and scale side by side along `chunk_dim`."""
    loc, scale = unpack(moments, chunk_dim, latent)
    return gaussian_rsample_kl(loc, scale, None, None, key, eps, **options)


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


def gaussian_nll(
    x: Tensor,
    loc: Tensor,
    scale: Tensor | None,
    scale_value: float = 0.0,
    *,
    full: bool = True,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """1/2 ((x - loc)^2 / sigma^2 + log sigma^2 + log 2 pi), the last term if `full`."""
    check_nll(x, loc, scale, scale_value, full)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    shape = _checks.broadcast(x=x, loc=loc, scale=scale)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(x, loc, scale)
    raw = _scale.raw(x, scale, scale_value, dtype)
    raw = _scale.clamp(raw, clamp_lo, clamp_hi, clamp_mode)
    delta = standardised(x.to(dtype) - loc.to(dtype), raw, scale_param, scale_offset)
    elements = 0.5 * delta * delta + 0.5 * _scale.logvar(raw, scale_param, scale_offset)
    if full:
        elements = elements + 0.5 * LOG_2PI
    return reduce(elements.expand(shape), reduction, units, event_ndim)


def gaussian_entropy(
    scale: Tensor,
    *,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """1/2 (1 + log 2 pi + log sigma^2)."""
    _checks.tensor("scale", scale)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    _checks.reduction(reduction, units, event_ndim, scale.dim())
    raw = _scale.clamp(scale.to(_checks.compute_dtype(scale)), clamp_lo, clamp_hi, clamp_mode)
    elements = 0.5 * (_scale.logvar(raw, scale_param, scale_offset) + (1 + LOG_2PI))
    return reduce(elements, reduction, units, event_ndim)


def check_sample(
    loc: object,
    scale: object,
    key: object,
    eps: object,
    sample_shape: Sequence[int],
    temperature: object,
    element_offset: object,
) -> None:
    _checks.tensor("loc", loc)
    _checks.tensor("scale", scale)
    assert isinstance(loc, Tensor) and isinstance(scale, Tensor)
    shape = _checks.broadcast(loc=loc, scale=scale)
    _checks.sizes("sample_shape", sample_shape)
    check_noise((*sample_shape, *shape), key, eps, temperature, element_offset, loc=loc, scale=scale)


def check_noise(
    shape: Sequence[int], key: object, eps: object, temperature: object, element_offset: object, **parameters: Tensor
) -> None:
    """`shape` is that of the sample, `parameters` are what it is made of besides the noise."""
    _checks.number("temperature", temperature)
    _checks.integer("element_offset", element_offset, minimum=0)
    _checks.key("key", key, device=next(iter(parameters.values())).device, optional=True)
    _checks.tensor("eps", eps, optional=True)
    assert eps is None or isinstance(eps, Tensor)
    _checks.same_device(**parameters, eps=eps)
    if (key is None) == (eps is None):
        raise ValueError(f"key, eps: expected exactly one of the two, got {'neither' if key is None else 'both'}")
    if eps is not None and tuple(eps.shape) != tuple(shape):
        got = _checks.shape_text(eps.shape)
        raise ValueError(f"eps: expected shape {_checks.shape_text(shape)}, that of the sample, got {got}")


def check_kl(loc: object, scale: object, prior_loc: object, prior_scale: object) -> None:
    _checks.tensor("loc", loc)
    _checks.tensor("scale", scale)
    _checks.tensor("prior_loc", prior_loc, optional=True)
    _checks.tensor("prior_scale", prior_scale, optional=True)
    _checks.same_device(loc=loc, scale=scale, prior_loc=prior_loc, prior_scale=prior_scale)  # type: ignore[arg-type]


def check_kl_options(free_bits: object, grad_scale_q: object, grad_scale_p: object) -> None:
    _checks.number("free_bits", free_bits, minimum=0)
    _checks.number("grad_scale_q", grad_scale_q)
    _checks.number("grad_scale_p", grad_scale_p)


def check_nll(x: object, loc: object, scale: object, scale_value: object, full: object) -> None:
    _checks.tensor("x", x)
    _checks.tensor("loc", loc)
    _checks.tensor("scale", scale, optional=True)
    _checks.number("scale", scale_value)
    _checks.boolean("full", full)
    _checks.same_device(x=x, loc=loc, scale=scale)  # type: ignore[arg-type]


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


def _log_variance_ratio(raw_q: Tensor, raw_p: Tensor, scale_param: str, scale_offset: float) -> Tensor:
    """log(sigma_q^2 / sigma_p^2), accurate where the two are nearly equal."""
    if scale_offset == 0 and scale_param in _scale.LOG_PARAMS:
        return (raw_q - raw_p) * (1 if scale_param == "logvar" else 2)
    far = _scale.exponential(torch.maximum(raw_q, raw_p), scale_param, scale_offset)
    if far:
        logvar_q, logvar_p = (_scale.logvar(raw, scale_param, scale_offset) for raw in (raw_q, raw_p))
        raw_q, raw_p = (torch.where(far[0], 0.0, raw) for raw in (raw_q, raw_p))
    sigma_q, sigma_p = (_scale.std(raw, scale_param, scale_offset) for raw in (raw_q, raw_p))
    relative = (sigma_q - sigma_p) / sigma_p
    near = relative.abs() < 0.5
    inner = torch.where(near, relative, torch.zeros_like(relative))
    ratio = torch.where(near, torch.ones_like(relative), sigma_q / sigma_p)
    value = 2 * torch.where(near, torch.log1p(inner), torch.log(ratio))
    return torch.where(far[0], logvar_q - logvar_p, value) if far else value


def standardised(delta: Tensor, raw: Tensor, scale_param: str, scale_offset: float) -> Tensor:
    """delta / sigma. A distance of 0 is 0 sigmas, even where 1 / sigma is infinite: the scale takes no part in it."""
    largest = torch.finfo(raw.dtype).max
    if scale_offset == 0 and scale_param in _scale.LOG_PARAMS:
        exponent = raw * (-0.5 if scale_param == "logvar" else -1.0)
        beyond = (exponent > math.log(largest)) & (delta == 0)
        return delta * torch.where(beyond, largest, torch.exp(torch.where(beyond, 0.0, exponent)))
    far = _scale.exponential(raw, scale_param, scale_offset)
    if far:
        there, param = far
        alone = standardised(delta, torch.where(there, raw, 0.0), param, 0.0)
        raw = torch.where(there, 0.0, raw)
    sigma = _scale.std(raw, scale_param, scale_offset)
    beyond = (sigma.abs() < 1 / _scale.squarable(raw.dtype)) & (delta == 0)  # the derivative by sigma has its square
    rate = torch.where(beyond, (1 / sigma.detach()).clamp(-largest, largest), 1.0)
    value = delta * rate / torch.where(beyond, 1.0, sigma)
    return torch.where(there, alone, value) if far else value
