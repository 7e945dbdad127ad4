"""The likelihood whose sigma^2 is the mean squared error over the batch (Rybkin et al. 2021, sigma-VAE)."""

import math

import torch
from torch import Tensor

from genkern import _dtensor
from genkern.functional import _ordered
from genkern.reference import scale as _scale
from genkern.reference.options import Loss, Sigma


def optimal_nll(half_square: Tensor, shape: torch.Size, full: bool, sigma: Sigma, loss: Loss) -> Tensor:
    """The likelihood from half the squared errors, summed over each datum unless the reduction is "none".

    The squared errors are one fused pass; what depends on sigma^2 is arithmetic on [batch] values.
    """
    loss.check(len(shape))
    reduction = loss.reduction
    event_numel = 1 if reduction == "none" else math.prod(shape[loss.batch_ndim(len(shape)) :])
    variance = 2 * _dtensor.everywhere(_ordered.total(half_square)) / math.prod(shape)
    logvar = _ordered.spread(_scale.clamp(_log(variance), sigma), half_square.shape)
    constant = math.log(2 * math.pi) if full else 0.0
    value = _over(half_square, logvar) + 0.5 * event_numel * (logvar + constant)
    factor = 1.0 if loss.units == "nats" else 1.0 / math.log(2.0)
    if reduction == "mean" or (loss.units == "bits_per_dim" and reduction != "none"):
        factor = factor / event_numel if event_numel else math.nan
    if reduction in ("sum", "mean", "batchmean"):
        value = _ordered.total(value) if reduction == "sum" else _ordered.mean(value)
    return value if factor == 1.0 else value * factor


def _log(variance: Tensor) -> Tensor:
    """log of the variance; of 0, and of what is so small that its reciprocal overflows, without a gradient."""
    tiny = variance < torch.finfo(variance.dtype).tiny
    return torch.where(tiny, variance.detach(), variance).log()


def _over(half_square: Tensor, logvar: Tensor) -> Tensor:
    """The half squares over sigma^2, each at most half the number of elements if no clamp moved it.

    An infinite log sigma^2 outweighs them, so there they are left out. In two factors, since the reciprocal of a
    sigma^2 that is barely a number overflows; its gradient would, and is left out.
    """
    tiny = logvar < math.log(torch.finfo(logvar.dtype).tiny)
    infinite = logvar.isinf()
    precision = torch.exp(-0.5 * torch.where(infinite, 0.0, logvar))
    kept = torch.where(tiny, half_square.detach(), half_square)
    return torch.where(infinite, 0.0, kept) * precision * precision
