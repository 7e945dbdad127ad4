"""The maximum mean discrepancy in plain torch: every pair of points is written out, [B, C, D] numbers."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference.definition import Definition
from genkern.reference.options import Result

KERNELS = ("rbf", "imq")
ESTIMATORS = ("u", "v")
MOST_SCALES = 16


def check_scales(scales: object) -> list[float]:
    found = _checks.numbers("scales", scales)
    if not 1 <= len(found) <= MOST_SCALES:
        raise ValueError(f"scales: expected 1 to {MOST_SCALES} numbers, got {len(found)}")
    for s in found:
        if not (s > 0 and math.isfinite(s)):
            raise ValueError(f"scales: expected finite numbers > 0, got {s}")
    return found


@Definition
def mmd(x: Tensor, y: Tensor, kernel: str, scales: Sequence[float], estimator: str) -> Iterator[Any]:
    """E k(x, x') + E k(y, y') - 2 E k(x, y), 0-dim; see `genkern.mmd`."""
    _checks.tensors(x=x, y=y)
    _checks.choice("kernel", kernel, KERNELS)
    check_scales(scales)
    _checks.choice("estimator", estimator, ESTIMATORS)
    fewest = 2 if estimator == "u" else 1
    needed = f">= {fewest} for estimator {estimator!r}"
    if x.dim() != 2 or not x.shape[0] >= fewest:
        raise ValueError(f"x: expected shape (B, D) with B {needed}, got {tuple(x.shape)}")
    if y.dim() != 2 or not y.shape[0] >= fewest or y.shape[1] != x.shape[1]:
        raise ValueError(f"y: expected shape (C, {x.shape[1]}) with C {needed}, got {tuple(y.shape)}")
    dtype = _checks.compute_dtype(x, y)
    yield Result((), dtype, x.device)
    x, y = x.to(dtype), y.to(dtype)

    def values(squared: Tensor) -> Tensor:
        if kernel == "rbf":
            return sum((torch.exp(-squared / s) for s in scales), torch.zeros_like(squared))
        return sum((s / (s + squared) for s in scales), torch.zeros_like(squared))

    def within(z: Tensor) -> Tensor:
        count = z.shape[0]
        itself = torch.eye(count, dtype=torch.bool, device=z.device)
        found = values(_squared_distances(z, z).masked_fill(itself, 0.0))
        if estimator == "v":
            return _sum(found) / count**2
        return _sum(found.masked_fill(itself, 0.0)) / (count * (count - 1))

    both = _sum(values(_squared_distances(x, y))) / (x.shape[0] * y.shape[0])
    yield within(x) + within(y) - 2 * both


def _sum(values: Tensor) -> Tensor:
    """The sum by rows first, so that the number of threads does not change the order."""
    return values.sum(1).sum()


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return (x.unsqueeze(1) - y).square().sum(-1)
