"""The head of a hierarchical variational autoencoder in plain torch.

Source: Vahdat & Kautz 2020, NVAE, section 3.2, "residual normal distributions" and their KL (equation 2).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference import scale as _scale
from genkern.reference.definition import Definition
from genkern.reference.gaussian import LOG_2PI, expm1_minus, standardised
from genkern.reference.options import Divergence, Loss, Result, Sampling, Sigma
from genkern.reference.random import random_normal
from genkern.reference.reduce import at_least, reduce


@Definition
def gaussian_residual_rsample_kl(
    prior_loc: Tensor,
    prior_scale: Tensor,
    delta_loc: Tensor,
    delta_scale: Tensor,
    key: Tensor | None,
    eps: Tensor | None,
    sampling: Sampling,
    sigma: Sigma,
    divergence: Divergence,
    loss: Loss,
) -> Iterator[Any]:
    """z ~ q = N(mu_p + mu_d, (sigma_p sigma_d)^2), KL(q || p), log q(z) and log p(z) for p = N(mu_p, sigma_p^2)."""
    parameters = check_parameters(prior_loc, prior_scale, delta_loc, delta_scale)
    shape = _checks.broadcast(**parameters)
    sampling.check()
    _checks.noise(key, eps, shape, **parameters)
    sigma.check()
    divergence.check()
    each = loss.result(shape, *parameters.values())
    prior = torch.promote_types(prior_loc.dtype, prior_scale.dtype)
    stored = torch.promote_types(prior, torch.promote_types(delta_loc.dtype, delta_scale.dtype))
    yield Result(shape, stored, prior_loc.device, prior_loc), each, each, each
    dtype = each.dtype
    if eps is None:
        assert key is not None
        eps = random_normal(key, shape, dtype, sampling.element_offset, prior_loc.device)
    mu_p, raw_p, mu_d, raw_d = (t.to(dtype) for t in parameters.values())
    raw_p, raw_d = (_scale.clamp(raw, sigma) for raw in (raw_p, raw_d))
    sigma_p, sigma_d = (_scale.std(raw, sigma) for raw in (raw_p, raw_d))
    logvar_p, logvar_d = (_scale.logvar(raw, sigma) for raw in (raw_p, raw_d))

    e = sampling.temperature * eps.to(dtype)
    z = mu_p + mu_d + sigma_p * sigma_d * e
    u = standardised(mu_d, raw_p, sigma) + sigma_d * e  # (z - mu_p) / sigma_p
    log_q = -(0.5 * e * e + 0.5 * (logvar_p + logvar_d + LOG_2PI))  # halves, whose squares overflow later
    log_p = -(0.5 * u * u + 0.5 * (logvar_p + LOG_2PI))

    # In the divergence mu_d is mu_q - mu_p and logvar_d is logvar_q - logvar_p. p's parameters occur in q's as well
    # as in p's and cancel in the value; their gradients do where the two have the same factor.
    crossing = divergence.grad_scale_q - divergence.grad_scale_p
    delta = _scale.add_gradient(_scale.scale_gradient(mu_d, divergence.grad_scale_q), mu_p, crossing)
    log_ratio = _scale.add_gradient(_scale.scale_gradient(logvar_d, divergence.grad_scale_q), logvar_p, crossing)
    delta = standardised(delta, _scale.scale_gradient(raw_p, divergence.grad_scale_p), sigma)
    kl = 0.5 * (expm1_minus(log_ratio) + delta * delta)
    if divergence.free_bits:
        kl = at_least(kl, divergence.free_bits, loss.units)

    kl, log_q, log_p = (reduce(value.expand(each.elements), loss) for value in (kl, log_q, log_p))
    yield z.to(stored), kl, log_q, log_p


def check_parameters(
    prior_loc: Tensor, prior_scale: Tensor, delta_loc: Tensor, delta_scale: Tensor
) -> dict[str, Tensor]:
    """The four by name, in this order."""
    given = {"prior_loc": prior_loc, "prior_scale": prior_scale, "delta_loc": delta_loc, "delta_scale": delta_scale}
    _checks.tensors(**given)
    return given
