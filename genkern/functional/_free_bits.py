"""Floors of a divergence per datum or over the batch: arithmetic on [batch] values after the fused sum.

(The floor per dimension is part of the kernels.)
"""

import math

import torch
from torch import Tensor

from genkern import _checks, _dtensor
from genkern.functional import _ordered
from genkern.reference.options import Loss
from genkern.reference.scale import constant

OVER = ("dim", "event", "batch")


def arguments(
    free_bits: float,
    over: str,
    grad_scale_q: float,
    grad_scale_p: float,
    reduction: str,
    units: str,
    event_ndim: int | None,
) -> tuple[float, float, float, str, str, int | None]:
    """A `Divergence` and a `Loss` for the kernels, flat; `apply` takes the results where the floor is not theirs."""
    if over == "dim":
        return free_bits, grad_scale_q, grad_scale_p, reduction, units, event_ndim
    _checks.choice("reduction", reduction, _checks.REDUCTIONS)
    _checks.choice("units", units, _checks.UNITS)
    rows, unit = "none" if reduction == "none" else "event", "nats" if units == "nats" else "bits"
    return 0.0, grad_scale_q, grad_scale_p, rows, unit, event_ndim


def apply(kl: Tensor, free_bits: float, over: str, loss: Loss, shape: torch.Size) -> Tensor:
    """max(KL, free_bits) of each datum, or on the mean over the batch, then the reduction asked for.

    Where the floor holds, it is what each datum (element, for "none") shows its even share of, with no gradient. A
    divergence that is nan is not below it.
    """
    _checks.choice("free_bits_over", over, OVER)
    free_bits = constant(_checks.number("free_bits", free_bits, minimum=0), kl.dtype)
    loss.check(len(shape))
    batch = loss.batch_ndim(len(shape))
    event_numel = math.prod(shape[batch:])
    event = tuple(range(batch, len(shape)))
    elementwise = loss.reduction == "none"
    if over == "event":
        level = _ordered.total(kl, event, keepdim=True) if elementwise else kl
    else:
        level = _dtensor.everywhere(_ordered.total(kl)) / math.prod(shape[:batch])
    share = free_bits / event_numel if elementwise and event_numel else free_bits
    kl = torch.where(level < free_bits, torch.full_like(kl, share), kl)
    return outer(kl, loss, shape)


def outer(value: Tensor, loss: Loss, shape: torch.Size) -> Tensor:
    """The value in the reduction and unit asked for, from those of `arguments`."""
    reduction = loss.reduction
    if loss.units == "bits_per_dim" and reduction not in ("none", "mean"):
        value = value / math.prod(shape[loss.batch_ndim(len(shape)) :])
    if reduction in ("none", "event"):
        return value
    if reduction == "batchmean":
        return _ordered.mean(value)
    return _ordered.total(value) if reduction == "sum" else _ordered.total(value) / math.prod(shape)
