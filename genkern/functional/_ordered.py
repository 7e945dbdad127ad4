"""Sums by torch that have one order each, whatever the number of threads.

A reduction to a single value is cut by torch into a part for each thread, from 32768 elements on. One to several
values is cut between these alone, and less than that is not cut at all.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import _dtensor

_PIECE = 16384


def total(values: Tensor, dims: Sequence[int] | None = None, *, keepdim: bool = False) -> Tensor:
    """The sum of all elements, or along dimensions, which are not negative."""
    if dims is None and _dtensor.given((values,)):
        return _OfShards.apply(values)
    return _by_pieces(torch.sum, values, dims, keepdim)


def mean(values: Tensor, dim: int | None = None) -> Tensor:
    """The mean of all elements, or along a dimension; nan where there is none."""
    if dim is None:
        return total(values) / values.numel()
    return total(values, (dim,)) / values.shape[dim]


def logsumexp(values: Tensor, dim: int) -> Tensor:
    """log of the sum of exp along a dimension."""
    return _by_pieces(torch.logsumexp, values, (dim,), False)


def spread(value: Tensor, shape: Sequence[int]) -> Tensor:
    """A single value that broadcasts to `shape`, whose gradient, a sum over that, has one order, too."""
    numel = math.prod(shape)
    if numel <= _PIECE or _dtensor.given((value,)):
        return value
    pieces = -(-numel // _PIECE)
    columns = spread(value, (pieces,)).expand(pieces).unsqueeze(1)
    return columns.expand(pieces, _PIECE).flatten()[:numel].view(tuple(shape))


def _by_pieces(reduce: Callable[..., Tensor], values: Tensor, dims: Sequence[int] | None, keepdim: bool) -> Tensor:
    """`reduce`, which may be taken of parts and then of its results."""
    dims = tuple(range(values.dim())) if dims is None else tuple(dims)
    if values.numel() <= _PIECE or math.prod([values.shape[d] for d in dims]) != values.numel():
        return reduce(values, dims, keepdim) if dims else values
    shape = [1 for d in range(values.dim()) if keepdim or d not in dims]
    flat = values.flatten()
    while flat.numel() > _PIECE:
        whole = flat.numel() // _PIECE * _PIECE
        parts = [reduce(flat[:whole].view(-1, _PIECE), -1)]
        if whole < flat.numel():
            parts.append(reduce(flat[whole:], 0, keepdim=True))
        flat = torch.cat(parts)
    return reduce(flat, 0).view(shape)


class _OfShards(torch.autograd.Function):
    """The sum of a DTensor, of which each rank adds its own part; its gradient is that of ``sum``, of any order."""

    @staticmethod
    def forward(ctx: Any, values: Any) -> Tensor:
        from torch.distributed.tensor import DTensor, Partial

        ctx.shape = values.shape
        placements = [Partial("sum") if placement.is_shard() else placement for placement in values.placements]
        return DTensor.from_local(total(values.to_local()), values.device_mesh, placements)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.expand(ctx.shape)
