"""Shapes, memory layouts and the numbers in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Shape = tuple[int, ...]

SHAPES: tuple[Shape, ...] = (
    (0, 8),
    (1, 1),
    (2, 4),
    (7, 3),
    (128, 10),
    (64, 257),
    (2, 60013),
    (5,),
    (3, 4, 5),
    (2, 6, 5, 7),
    (2, 4, 3, 5, 2),
)
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
REDUCTIONS = ("event", "none", "sum", "mean", "batchmean")
UNITS = ("nats", "bits", "bits_per_dim")

# No two are each other's negative, lest huge terms cancel to a number that no digit is left of.
EXTREMES = (0.0, -0.0, 1e-30, 30.0, -31.0, 88.0, -87.0, 200.0, -201.0, 1e4, -2e4, 1e30, -2e30)
EXTREMES += (math.inf, -math.inf, math.nan)


def _channels_last(t: Tensor) -> Tensor:
    return t.contiguous(memory_format=torch.channels_last if t.dim() == 4 else torch.channels_last_3d)


def _chunk(t: Tensor) -> Tensor:
    return torch.cat((t, t), 1).chunk(2, 1)[1]


def _offset(t: Tensor) -> Tensor:
    return torch.cat((t.new_zeros(1), t.flatten()))[1:].view(t.shape)


# Each gives a tensor of the same shape; all but "expanded" one of the same values.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda t: t.contiguous(),
    "channels_last": _channels_last,
    "chunk": _chunk,
    "transposed": lambda t: t.mT.contiguous().mT,
    "expanded": lambda t: t[:1].expand(t.shape),
    "offset": _offset,
}


def fits(layout: str, shape: Shape) -> bool:
    """Whether a tensor of this shape can lie so."""
    if layout == "channels_last":
        return len(shape) in (4, 5)
    return len(shape) >= {"chunk": 2, "transposed": 2, "expanded": 1}.get(layout, 0)


def lay_out(t: Tensor, layout: str) -> Tensor:
    return LAYOUTS[layout](t) if fits(layout, tuple(t.shape)) else t


def normal(shape: Sequence[int], seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers, the same for every dtype but for rounding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float64).to(dtype)


def raw_scale(shape: Sequence[int], seed: int, scale_param: str = "logvar") -> Tensor:
    """Raw scales that are valid for the parameterisation and keep sigma between about 1/4 and 4."""
    raw = normal(shape, seed)
    return raw.abs() + 0.3 if scale_param in ("std", "var") else raw * (1.0 if scale_param == "logvar" else 0.5)


def cotangent(like: Tensor, seed: int) -> Tensor:
    return normal(like.shape, seed).to(like)


def numel(shape: Sequence[int]) -> int:
    return math.prod(shape)
