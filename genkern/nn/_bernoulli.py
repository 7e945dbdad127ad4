"""The Bernoulli negative log-likelihood, through torch: the one place to change once ``functional`` has its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as torch_functional

from genkern import _checks


def bernoulli_nll(
    x: Tensor, logits: Tensor, *, reduction: str = "event", units: str = "nats", event_ndim: int | None = None
) -> Tensor:
    """−log p(x | logits) for x in [0, 1], in float32 or wider whatever autocast says."""
    _checks.tensor("x", x)
    _checks.tensor("logits", logits)
    if x.shape != logits.shape:
        raise ValueError(f"x: expected the shape of logits {tuple(logits.shape)}, got {tuple(x.shape)}")
    _checks.reduction(reduction, units, event_ndim, x.ndim)
    dtype = _checks.compute_dtype(x, logits)
    with torch.autocast(device_type=x.device.type, enabled=False):
        nll = torch_functional.binary_cross_entropy_with_logits(logits.to(dtype), x.to(dtype), reduction="none")
    first = x.ndim - _checks.event_ndim(event_ndim, x.ndim)
    if units != "nats":
        nll = nll / math.log(2.0)
    if units == "bits_per_dim":
        nll = nll / math.prod(x.shape[first:])
    if reduction == "none":
        return nll
    if reduction in ("sum", "mean"):
        return nll.sum() if reduction == "sum" else nll.mean()
    per_datum = nll.sum(dim=tuple(range(first, x.ndim))) if first < x.ndim else nll
    return per_datum if reduction == "event" else per_datum.mean()
