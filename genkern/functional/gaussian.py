"""Samples, divergences and likelihoods of diagonal Gaussians."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern._library import Operation
from genkern.functional import _free_bits
from genkern.functional._noise import Generators, source, tempered, widest
from genkern.functional._optimal import optimal_nll
from genkern.functional._scale import Clamp, checked_sigma, learned_or_constant, sigma_arguments
from genkern.random import reserve
from genkern.reference import gaussian as reference
from genkern.reference.options import Divergence, Loss, Sampling, Sigma, schema

__all__ = [
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_nll",
    "gaussian_rsample",
    "gaussian_rsample_kl",
    "gaussian_rsample_kl_packed",
]

_rsample = Operation(
    f"gaussian_rsample(Tensor loc, Tensor scale, Tensor? key, Tensor? eps, *, {schema(Sampling, Sigma)}) -> Tensor",
    reference.gaussian_rsample,
    reserve=reserve,
)
_kl = Operation(
    "gaussian_kl(Tensor loc, Tensor scale, Tensor? prior_loc, Tensor? prior_scale, *, "
    f"{schema(Sigma, Divergence, Loss)}) -> Tensor",
    reference.gaussian_kl,
)
_rsample_kl = Operation(
    "gaussian_rsample_kl(Tensor loc, Tensor scale, Tensor? prior_loc, Tensor? prior_scale, Tensor? key, Tensor? eps, "
    f"*, {schema(Sampling, Sigma, Divergence, Loss)}) -> (Tensor, Tensor)",
    reference.gaussian_rsample_kl,
    reserve=reserve,
)
_rsample_kl_packed = Operation(
    "gaussian_rsample_kl_packed(Tensor moments, int chunk_dim, SymInt? latent, Tensor? key, Tensor? eps, "
    f"*, {schema(Sampling, Sigma, Divergence, Loss)}) -> (Tensor, Tensor)",
    reference.gaussian_rsample_kl_packed,
    reserve=reserve,
)
_nll = Operation(
    "gaussian_nll(Tensor x, Tensor loc, Tensor? scale, float scale_value=0.0, *, bool full=True, "
    f"{schema(Sigma, Loss)}) -> Tensor",
    reference.gaussian_nll,
)
_entropy = Operation(f"gaussian_entropy(Tensor scale, *, {schema(Sigma, Loss)}) -> Tensor", reference.gaussian_entropy)


def gaussian_rsample(
    loc: Tensor,
    scale: Tensor,
    *,
    sample_shape: Sequence[int] = (),
    temperature: Tensor | float = 1.0,
    element_offset: int = 0,
    key: Tensor | None = None,
    generator: Generators | None = None,
    eps: Tensor | None = None,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
) -> Tensor:
    """Sample N(loc, sigma^2) by reparameterisation: z = loc + temperature * sigma * eps.

    Options that are not listed here are those of `genkern.functional`.

    Parameters
    ----------
    loc, scale : Tensor
        The mean, and the log variance unless `scale_param` says otherwise; two shapes that broadcast.

    Returns
    -------
    Tensor
        ``[*sample_shape, *broadcast]``, in the arguments' dtype.

    See Also
    --------
    gaussian_rsample_kl : the sample with its KL divergence, in one pass
    genkern.random.normal : the noise alone

    Notes
    -----
    Kingma & Welling 2014, "Auto-encoding variational Bayes".

    Examples
    --------
    >>> import genkern as gk, torch
    >>> loc, logvar = torch.zeros(2, 3), torch.zeros(2, 3)
    >>> z = gk.gaussian_rsample(loc, logvar, key=gk.random.key(42))
    >>> torch.equal(z, gk.random.normal(gk.random.key(42), (2, 3)))
    True
    """
    drawn = _sampling(loc, scale, sample_shape, key, generator, eps, temperature, element_offset)
    sigma = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    return _rsample(loc, scale, *drawn, *sigma)


def gaussian_kl(
    loc: Tensor,
    scale: Tensor,
    prior_loc: Tensor | None = None,
    prior_scale: Tensor | None = None,
    *,
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
) -> Tensor:
    """KL(q || p), the divergence of a diagonal Gaussian q from another, p: the KL term of a VAE. Never negative.

    Options that are not listed here are those of `genkern.functional`.

    Parameters
    ----------
    loc, scale : Tensor
        q's mean, and its log variance unless `scale_param` says otherwise; shapes that broadcast.
    prior_loc, prior_scale : Tensor, optional
        The same of p; by default p is N(0, I).
    scale_param, scale_offset, clamp, clamp_mode
        The same for q and p.

    Returns
    -------
    Tensor
        One value for each datum, in nats, unless `reduction` and `units` say otherwise; float32 or wider.

    See Also
    --------
    gaussian_rsample_kl : the divergence with a sample, in one pass
    gaussian_entropy : the entropy of one Gaussian
    categorical_kl : the divergence of classes
    genkern.nn.GaussianKLLoss : the same as a module

    Notes
    -----
    KL = 1/2 (exp(d) - 1 - d + ((loc - prior_loc) / sigma_p)^2) with d = log(sigma_q^2 / sigma_p^2)
    (Kingma & Welling 2014, appendix B); exp(d) - 1 - d is taken by its series near 0, so the result keeps its digits
    where q is close to p.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.gaussian_kl(torch.zeros(1, 2), torch.full((1, 2), 1e-6))
    tensor([5.0000e-13])
    """
    sigma = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    how = _free_bits.arguments(free_bits, free_bits_over, grad_scale_q, grad_scale_p, reduction, units, event_ndim)
    kl = _kl(loc, scale, prior_loc, prior_scale, *sigma, *how)
    if free_bits_over == "dim":
        return kl
    shape = _checks.broadcast(loc=loc, scale=scale, prior_loc=prior_loc, prior_scale=prior_scale)
    return _free_bits.apply(kl, free_bits, free_bits_over, Loss(reduction, units, event_ndim), shape)


def gaussian_rsample_kl(
    loc: Tensor,
    scale: Tensor,
    prior_loc: Tensor | None = None,
    prior_scale: Tensor | None = None,
    *,
    sample_shape: Sequence[int] = (),
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
) -> tuple[Tensor, Tensor]:
    """Sample q and take KL(q || p) in one pass: the head of a variational autoencoder.

    The parameters are those of `gaussian_rsample` and `gaussian_kl`, and the options of `genkern.functional`. The prior
    broadcasts to the shape of q.

    Returns
    -------
    z : Tensor
        ``[*sample_shape, *broadcast]``, in the arguments' dtype.
    kl : Tensor
        As `gaussian_kl` gives it.

    See Also
    --------
    gaussian_rsample_kl_packed : where loc and scale lie in one tensor
    gaussian_rsample : the sample alone
    gaussian_kl : the divergence alone
    gaussian_residual_rsample_kl : a level of a hierarchy
    genkern.nn.VAE : a whole model

    Notes
    -----
    Kingma & Welling 2014, "Auto-encoding variational Bayes", section 2.4 and appendix B.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> loc, logvar = torch.randn(2, 16, 8).unbind()
    >>> z, kl = gk.gaussian_rsample_kl(loc, logvar)
    >>> z.shape, kl.shape
    (torch.Size([16, 8]), torch.Size([16]))
    """
    drawn = _sampling(loc, scale, sample_shape, key, generator, eps, temperature, element_offset)
    sigma = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    how = _free_bits.arguments(free_bits, free_bits_over, grad_scale_q, grad_scale_p, reduction, units, event_ndim)
    z, kl = _rsample_kl(loc, scale, prior_loc, prior_scale, *drawn, *sigma, *how)
    if free_bits_over != "dim":
        shape = z.shape[len(sample_shape) :]
        kl = _free_bits.apply(kl, free_bits, free_bits_over, Loss(reduction, units, event_ndim), shape)
    return z, kl


def gaussian_rsample_kl_packed(
    moments: Tensor,
    chunk_dim: int = 1,
    *,
    latent_channels: int | None = None,
    sample_shape: Sequence[int] = (),
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
) -> tuple[Tensor, Tensor]:
    """Sample q and take KL(q || p) from an encoder's output, where loc and scale lie side by side in one tensor.

    Options that are not listed here, and the results, are those of `gaussian_rsample_kl`. The two halves are read in
    place, and the gradient is written straight into the packed tensor.

    Parameters
    ----------
    moments : Tensor
        loc, then scale, along `chunk_dim`: 2C channels, or C + 1 where one scale channel serves all.
    chunk_dim : int
        The dimension of the channels.
    latent_channels : int, optional
        C. Default: half of an even number of channels, all but the last of an odd one.

    See Also
    --------
    gaussian_rsample_kl : where loc and scale are two tensors
    genkern.nn.GaussianHead : with the linear layer before it

    Examples
    --------
    >>> import genkern as gk, torch
    >>> z, kl = gk.gaussian_rsample_kl_packed(torch.randn(2, 8, 16, 16))
    >>> z.shape, kl.shape
    (torch.Size([2, 4, 16, 16]), torch.Size([2]))
    """
    packed = chunk_dim, latent_channels
    drawn = _sampling(moments, moments, sample_shape, key, generator, eps, temperature, element_offset, packed)
    sigma = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    how = _free_bits.arguments(free_bits, free_bits_over, grad_scale_q, grad_scale_p, reduction, units, event_ndim)
    z, kl = _rsample_kl_packed(moments, *packed, *drawn, *sigma, *how)
    if free_bits_over != "dim":
        shape = z.shape[len(sample_shape) :]
        kl = _free_bits.apply(kl, free_bits, free_bits_over, Loss(reduction, units, event_ndim), shape)
    return z, kl


def gaussian_nll(
    x: Tensor,
    loc: Tensor,
    scale: Tensor | float | str = 0.0,
    *,
    full: bool = True,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Negative log-likelihood of x under N(loc, sigma^2): the reconstruction loss of real numbers.

    Options that are not listed here are those of `genkern.functional`. By default the result has one value for each
    datum, in nats.

    Parameters
    ----------
    x, loc : Tensor
        Data and locations, of shapes that broadcast.
    scale : Tensor, float or "optimal"
        A learned scale of any shape that broadcasts (per element, per channel, 0-dim), a constant, or "optimal":
        sigma^2 is the mean squared error over the batch, differentiated (Rybkin et al. 2021, sigma-VAE);
        `clamp` then bounds log sigma^2, and `scale_param` and `scale_offset` have no meaning.
    full : bool
        Whether the constant 1/2 log 2 pi is included.

    See Also
    --------
    gaussian_log_prob : the same with the other sign
    laplace_nll : the absolute error in place of the squared one
    discretized_gaussian_nll : where data are grey levels
    genkern.nn.GaussianLikelihood : the same for a VAE

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.gaussian_nll(torch.zeros(2, 3), torch.zeros(2, 3), full=False)
    tensor([0., 0.])
    """
    if isinstance(scale, str):
        if scale != "optimal":
            raise ValueError(f"scale: expected a Tensor, a float or 'optimal', got {scale!r}")
        full = _checks.boolean("full", full)
        sigma = checked_sigma("logvar", 0.0, clamp, clamp_mode)
        rows = "none" if reduction == "none" else "event"
        half_square = _nll(x, loc, None, 0.0, False, *Sigma(), rows, "nats", event_ndim)
        shape = _checks.broadcast(x=x, loc=loc)
        return optimal_nll(half_square, shape, full, sigma, Loss(reduction, units, event_ndim))
    arguments = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    return _nll(x, loc, *learned_or_constant(scale), full, *arguments, reduction, units, event_ndim)


def gaussian_log_prob(
    x: Tensor,
    loc: Tensor,
    scale: Tensor | float | str = 0.0,
    *,
    full: bool = True,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Log density of x under N(loc, sigma^2).

    It is minus `gaussian_nll`, whose parameters and errors it has.

    See Also
    --------
    gaussian_nll : the same with the other sign, as a loss

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.gaussian_log_prob(torch.zeros(1, 2), torch.zeros(1, 2))
    tensor([-1.8379])
    """
    return -gaussian_nll(
        x,
        loc,
        scale,
        full=full,
        scale_param=scale_param,
        scale_offset=scale_offset,
        clamp=clamp,
        clamp_mode=clamp_mode,
        reduction=reduction,
        units=units,
        event_ndim=event_ndim,
    )


def gaussian_entropy(
    scale: Tensor,
    *,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Differential entropy of N(loc, sigma^2), whatever loc is: 1/2 (1 + log 2 pi + log sigma^2) a dimension.

    The options and the result are those of `genkern.functional`.

    See Also
    --------
    gaussian_kl : the divergence from another Gaussian
    discrete_entropy : the entropy of classes

    Notes
    -----
    Cover & Thomas 2006, theorem 8.4.1.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.gaussian_entropy(torch.zeros(1, 2))
    tensor([2.8379])
    """
    sigma = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    return _entropy(scale, *sigma, reduction, units, event_ndim)


def _sampling(
    loc: Tensor,
    scale: Tensor,
    sample_shape: Sequence[int],
    key: Tensor | None,
    generator: Generators | None,
    eps: Tensor | None,
    temperature: Tensor | float,
    element_offset: int,
    packed: tuple[int, int | None] | None = None,
) -> tuple[Any, ...]:
    """Noise and a `Sampling`, flat; the shape of the sample is worked out only where `tempered` needs it."""
    if not isinstance(temperature, Tensor) and (generator is None or isinstance(generator, torch.Generator)):
        return *source(loc, key, generator, eps), sample_shape, temperature, element_offset
    if packed is not None:
        loc, scale = reference.unpack(loc, *packed)
    else:
        _checks.tensors(loc=loc, scale=scale)
    shape = (*_checks.sizes("sample_shape", sample_shape), *_checks.broadcast(loc=loc, scale=scale))
    like = widest(loc, scale)
    noise = source(like, key, generator, eps, shape)
    noise, temperature, element_offset = tempered(noise, like, shape, temperature, element_offset)
    return *noise, sample_shape, temperature, element_offset
