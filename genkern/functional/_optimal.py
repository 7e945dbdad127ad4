"""The likelihood whose sigma^2 is the mean squared error over the batch (Rybkin et al. 2021, sigma-VAE)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genkern import _checks, _dtensor
from genkern.functional import _ordered
from genkern.functional._gaussian_ops import nll
from genkern.reference import scale as _scale


def optimal_nll(
    x: Tensor,
    loc: Tensor,
    full: bool,
    lo: float | None,
    hi: float | None,
    clamp_mode: str,
    reduction: str,
    units: str,
    event_ndim: int | None,
) -> Tensor:
    """One fused pass for the squared errors; what depends on sigma^2 is arithmetic on [batch] values."""
    _checks.choice("units", units, _checks.UNITS)
    rows = "none" if reduction == "none" else "event"
    half_square = nll(x, loc, None, 0.0, False, "logvar", 0.0, None, None, "hard", rows, "nats", event_ndim)
    shape = _checks.broadcast(x=x, loc=loc)
    batch = len(shape) - _checks.event_ndim(event_ndim, len(shape))
    event_numel = 1 if reduction == "none" else math.prod(shape[batch:])
    variance = 2 * _dtensor.everywhere(_ordered.total(half_square)) / math.prod(shape)
    logvar = _ordered.spread(_scale.clamp(_log(variance), lo, hi, clamp_mode), half_square.shape)
    constant = math.log(2 * math.pi) if full else 0.0
    value = _over(half_square, logvar) + 0.5 * event_numel * (logvar + constant)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    factor = 1.0 if units == "nats" else 1.0 / math.log(2.0)
    if reduction == "mean" or (units == "bits_per_dim" and reduction != "none"):
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
