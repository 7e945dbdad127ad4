"""Bins of grey levels, as their likelihoods share them: where one ends, and the logarithm of its width."""

import math

import torch
from torch import Tensor

from genkern.reference.options import Bins


def edges(grey: Bins) -> tuple[float, float, float]:
    """Half a bin, and where the outermost bins begin: 0.1 % of half the range from its ends, or half a bin if less."""
    bins, low, high = grey
    half = (high - low) / (2 * (bins - 1))
    margin = min(0.0005 * (high - low), half)
    return half, low + margin, high - margin


def negligible(dtype: torch.dtype) -> float:
    """A width that is nothing beside 1, below which its logarithm is known better than it is."""
    return 1e-290 if dtype == torch.float64 else 1e-30


def log(width: float) -> float:
    """math.log, but -inf at 0, which it refuses: a width may be too small to be a number."""
    return math.log(width) if width else -math.inf


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(-x)) for x >= 0 (Maechler 2012); at 0, -inf without a gradient."""
    one = torch.ones_like(x)
    nothing, near = x == 0, x < 0.7
    inner, outer = torch.where(near & ~nothing, x, one), torch.where(near, one, x)
    within = torch.where(near, torch.log(-torch.expm1(-inner)), torch.log1p(-torch.exp(-outer)))
    return torch.where(nothing, -torch.inf, within)
