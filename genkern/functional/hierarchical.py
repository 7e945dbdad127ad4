"""The head of a hierarchical variational autoencoder: an approximate posterior that is relative to its prior."""

import torch
from torch import Tensor

from genkern import _checks
from genkern._library import Operation
from genkern.functional import _free_bits
from genkern.functional._noise import Generators, source, tempered, widest
from genkern.functional._scale import Clamp, sigma_arguments
from genkern.random import reserve
from genkern.reference import hierarchical as reference
from genkern.reference.options import Divergence, Loss, Sampling, Sigma, schema

__all__ = ["gaussian_residual_rsample_kl"]

_residual_rsample_kl = Operation(
    "gaussian_residual_rsample_kl(Tensor prior_loc, Tensor prior_scale, Tensor delta_loc, Tensor delta_scale, "
    f"Tensor? key, Tensor? eps, *, {schema(Sampling, Sigma, Divergence, Loss, without='sample_shape')}) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    reference.gaussian_residual_rsample_kl,
    reserve=reserve,
)


def gaussian_residual_rsample_kl(
    prior_loc: Tensor,
    prior_scale: Tensor,
    delta_loc: Tensor,
    delta_scale: Tensor,
    *,
    temperature: Tensor | float = 1.0,
    element_offset: int = 0,
    key: Tensor | None = None,
    generator: Generators | None = None,
    eps: Tensor | None = None,
    free_bits: float = 0.0,
    free_bits_over: str = "dim",
    grad_scale_q: float = 1.0,
    grad_scale_p: float = 1.0,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One level of a hierarchical VAE in one pass: a sample of q, KL(q || p), log q(z) and log p(z).

    Options that are not listed here are those of `genkern.functional`.

    p = N(mu_p, sigma_p^2) and q = N(mu_p + mu_d, (sigma_p sigma_d)^2): the network that infers says how far q departs
    from p. With e = temperature * eps, z = mu_p + mu_d + sigma_p sigma_d e.

    Parameters
    ----------
    prior_loc, prior_scale : Tensor
        mu_p and what gives sigma_p.
    delta_loc, delta_scale : Tensor
        mu_d and what gives sigma_d. All four have shapes that broadcast.
    free_bits, free_bits_over
        Floor of the KL; log_q and log_p have none.
    grad_scale_q, grad_scale_p : float
        Multiply the gradient of the KL into q's and into p's parameters. q's are functions of all four tensors, so the
        prior receives both: at 1 and 1 what q passes on to prior_loc and what p does cancel. z, log_q and log_p are
        left alone.
    scale_param, scale_offset, clamp, clamp_mode
        The same for prior_scale and delta_scale, each apart.
    reduction, units, event_ndim
        The same for kl, log_q and log_p.

    Returns
    -------
    z : Tensor
        A sample of the shape all four broadcast to, in their promoted dtype.
    kl : Tensor
        KL(q || p), accurate where q is close to p; never negative.
    log_q, log_p : Tensor
        Log densities of z under q and under p. E[log_q - log_p] is the KL at temperature 1.

    See Also
    --------
    gaussian_rsample_kl : the head of a VAE with one level
    genkern.nn.HierarchicalVAE : a whole model

    Notes
    -----
    Vahdat & Kautz 2020, "NVAE: a deep hierarchical variational autoencoder", section 3.2. Elementwise

        kl    = 1/2 (exp(d) - 1 - d + (mu_d / sigma_p)^2),  d = log sigma_d^2
        log_q = -1/2 (e^2 + log sigma_p^2 + log sigma_d^2 + log 2 pi)
        log_p = -1/2 (u^2 + log sigma_p^2 + log 2 pi),      u = mu_d / sigma_p + sigma_d e

    none of which forms the difference of two nearly equal locations or scales.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> mu_p, logvar_p, mu_d, logvar_d = torch.randn(4, 16, 8, 4, 4).unbind()
    >>> z, kl, log_q, log_p = gk.gaussian_residual_rsample_kl(mu_p, logvar_p, mu_d, logvar_d)
    >>> z.shape, kl.shape, log_q.shape, log_p.shape
    (torch.Size([16, 8, 4, 4]), torch.Size([16]), torch.Size([16]), torch.Size([16]))
    >>> gk.gaussian_residual_rsample_kl(mu_p, logvar_p, 0 * mu_d, 0 * logvar_d)[1].max()
    tensor(0.)
    """
    like, shape = prior_loc, torch.Size()
    if isinstance(generator, list | tuple) or isinstance(temperature, Tensor):
        given = reference.check_parameters(prior_loc, prior_scale, delta_loc, delta_scale)
        shape = _checks.broadcast(**given)
        like = widest(*given.values())
    noise, temperature, element_offset = tempered(
        source(like, key, generator, eps, shape), like, shape, temperature, element_offset
    )
    sigma = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    how = _free_bits.arguments(free_bits, free_bits_over, grad_scale_q, grad_scale_p, reduction, units, event_ndim)
    parameters = prior_loc, prior_scale, delta_loc, delta_scale
    z, kl, log_q, log_p = _residual_rsample_kl(*parameters, *noise, temperature, element_offset, *sigma, *how)
    if free_bits_over != "dim":
        loss = Loss(reduction, units, event_ndim)
        kl = _free_bits.apply(kl, free_bits, free_bits_over, loss, z.shape)
        log_q, log_p = (_free_bits.outer(value, loss, z.shape) for value in (log_q, log_p))
    return z, kl, log_q, log_p
