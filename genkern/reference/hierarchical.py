"""The head of a hierarchical variational autoencoder in plain torch.

Source: Vahdat & Kautz 2020, NVAE, section 3.2, "residual normal distributions" and their KL (equation 2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference import scale as _scale
from genkern.reference.gaussian import LOG_2PI, check_kl_options, check_noise, expm1_minus, standardised
from genkern.reference.random import random_normal
from genkern.reference.reduce import at_least, reduce


def gaussian_residual_rsample_kl(
    prior_loc: Tensor,
    prior_scale: Tensor,
    delta_loc: Tensor,
    delta_scale: Tensor,
    key: Tensor | None,
    eps: Tensor | None,
    *,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """z ~ q = N(mu_p + mu_d, (sigma_p sigma_d)^2), KL(q || p), log q(z) and log p(z) for p = N(mu_p, sigma_p^2)."""
    parameters = check_parameters(prior_loc, prior_scale, delta_loc, delta_scale)
    shape = _checks.broadcast(**parameters)
    check_noise(shape, key, eps, temperature, element_offset, **parameters)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    check_kl_options(free_bits, grad_scale_q, grad_scale_p)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(*parameters.values())
    if eps is None:
        assert key is not None
        eps = random_normal(key, shape, dtype, element_offset, prior_loc.device)
    mu_p, raw_p, mu_d, raw_d = (t.to(dtype) for t in parameters.values())
    raw_p, raw_d = (_scale.clamp(raw, clamp_lo, clamp_hi, clamp_mode) for raw in (raw_p, raw_d))
    sigma_p, sigma_d = (_scale.std(raw, scale_param, scale_offset) for raw in (raw_p, raw_d))
    logvar_p, logvar_d = (_scale.logvar(raw, scale_param, scale_offset) for raw in (raw_p, raw_d))

    e = temperature * eps.to(dtype)
    z = mu_p + mu_d + sigma_p * sigma_d * e
    u = standardised(mu_d, raw_p, scale_param, scale_offset) + sigma_d * e  # (z - mu_p) / sigma_p
    log_q = -(0.5 * e * e + 0.5 * (logvar_p + logvar_d + LOG_2PI))  # halves, whose squares overflow later
    log_p = -(0.5 * u * u + 0.5 * (logvar_p + LOG_2PI))

    # In the divergence mu_d is mu_q - mu_p and logvar_d is logvar_q - logvar_p. p's parameters occur in q's as well
    # as in p's and cancel in the value; their gradients do where the two have the same factor.
    crossing = grad_scale_q - grad_scale_p
    delta = _scale.add_gradient(_scale.scale_gradient(mu_d, grad_scale_q), mu_p, crossing)
    log_ratio = _scale.add_gradient(_scale.scale_gradient(logvar_d, grad_scale_q), logvar_p, crossing)
    delta = standardised(delta, _scale.scale_gradient(raw_p, grad_scale_p), scale_param, scale_offset)
    kl = 0.5 * (expm1_minus(log_ratio) + delta * delta)
    if free_bits:
        kl = at_least(kl, free_bits, units)

    kl, log_q, log_p = (reduce(loss.expand(shape), reduction, units, event_ndim) for loss in (kl, log_q, log_p))
    return z.to(sample_dtype(**parameters)), kl, log_q, log_p


def check_parameters(
    prior_loc: object, prior_scale: object, delta_loc: object, delta_scale: object
) -> dict[str, Tensor]:
    """The four by name, in this order."""
    given = {"prior_loc": prior_loc, "prior_scale": prior_scale, "delta_loc": delta_loc, "delta_scale": delta_scale}
    parameters: dict[str, Tensor] = {}
    for name, value in given.items():
        _checks.tensor(name, value)
        assert isinstance(value, Tensor)
        parameters[name] = value
    return parameters


def sample_dtype(prior_loc: Tensor, prior_scale: Tensor, delta_loc: Tensor, delta_scale: Tensor) -> torch.dtype:
    prior = torch.promote_types(prior_loc.dtype, prior_scale.dtype)
    return torch.promote_types(prior, torch.promote_types(delta_loc.dtype, delta_scale.dtype))
