"""Reductions of elementwise losses, in the unit asked for."""

import math

import torch
from torch import Tensor

from genkern.reference.options import Loss
from genkern.reference.scale import constant


def reduce(elements: Tensor, loss: Loss) -> Tensor:
    reduction, batch = loss.reduction, loss.batch_ndim(elements.dim())
    event_numel = math.prod(elements.shape[batch:])
    factor = 1.0 if loss.units == "nats" else 1.0 / math.log(2.0)
    if loss.units == "bits_per_dim" and reduction not in ("none", "mean"):  # those two are per dimension already
        factor = factor / event_numel if event_numel else math.nan
    if reduction == "none":
        value = elements
    elif reduction == "mean":
        value = elements.mean()
    elif reduction == "event":
        value = elements.flatten(batch).sum(-1) if batch < elements.dim() else elements
    else:
        value = elements.sum()
        if reduction == "batchmean":
            rows = math.prod(elements.shape[:batch])
            value = value / rows if rows else value * math.nan
    return value if factor == 1.0 else value * factor


def at_least(elements: Tensor, free_bits: float, units: str) -> Tensor:
    """max(elements, free_bits), elements in nats; the gradient is 0 below the floor alone, not where one is nan."""
    floor = constant(free_bits if units == "nats" else free_bits * math.log(2.0), elements.dtype)
    return torch.where(elements < floor, floor, elements)


def logsumexp(x: Tensor, dim: int) -> Tensor:
    """torch's, but with a gradient, the softmax, that does not depend on how the result is rounded.

    torch rebuilds it as exp(x - result), which is off by a factor where the result is in the thousands. Where all are
    -inf the gradient is 0.
    """
    top = x.detach().amax(dim)
    none = top == -torch.inf
    top = torch.where(none, 0.0, top)
    total = torch.exp(x - top.unsqueeze(dim)).sum(dim)
    return torch.where(none, -torch.inf, top + torch.log(torch.where(none, 1.0, total)))
