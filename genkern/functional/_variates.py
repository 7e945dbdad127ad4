"""Gamma and Poisson variates from keyed noise, by rejection: exact, in float64, in plain torch.

A value is a function of the key and of its index in the sample, whatever the rest of the sample is: attempt n of each
element takes the noise that the n-th key of a stream has at the element's index, and who has been accepted takes no
more. Sources: Marsaglia & Tsang 2000, "A simple method for generating gamma variables"; Hörmann 1993, "The transformed
rejection method for generating Poisson random variables" (PTRS).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genkern import random
from genkern.reference.counts import lack_of_log, stirling_error

_INVERTED = 10.0  # the largest rate of Poisson variates by inversion
_LEAST_SHAPE = 1e-300  # whose variates are 0 as those of smaller ones are
_MOST_INVERTED = 60  # at a rate of 10, P(X > 60) is below 2**-90; a uniform number has 53 bits


class Pairs:
    """Pairs of float64 noise for the elements of a sample, flat, as often as they are asked for."""

    def __init__(self, keys: Sequence[Tensor], numel: int, element_offset: int, device: torch.device) -> None:
        self._keys = keys
        self._of_one = (numel, element_offset, device)

    @classmethod
    def of(cls, keys: Sequence[Tensor], shape: Sequence[int], element_offset: int, device: torch.device) -> Pairs:
        """One key for all elements of that shape, of which the first has that index; or one for each row."""
        return cls(keys, math.prod(shape) // max(1, len(keys)), element_offset, device)

    def split(self, num: int) -> list[Pairs]:
        """Independent ones."""
        split = [random.split(key, num) for key in self._keys]
        return [Pairs([keys[i] for keys in split], *self._of_one) for i in range(num)]

    def draw(self, attempt: int, draw: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        """The pairs of an attempt, by `random.normal` or `random.uniform`."""
        numel, first, device = self._of_one
        rows = [
            draw(
                random.fold_in(key, attempt),
                (numel, 2),
                dtype=torch.float64,
                element_offset=2 * first,
                device=device,
            )
            for key in self._keys
        ]
        none = torch.empty((0, 2), dtype=torch.float64, device=device)
        one, other = (rows[0] if len(rows) == 1 else torch.cat([none, *rows])).unbind(1)
        return one, other


def gamma_over_shape(noise: Pairs, shape: Tensor) -> Tensor:
    """G / shape with G ~ Gamma(shape, 1), flat; nan of a shape that is nan.

    A variate of a shape below 1 is that of shape + 1 times U^(1 / shape).
    """
    normals, uniforms = noise.split(2)
    shape = shape.clamp(min=_LEAST_SHAPE)
    small = shape < 1
    d = shape + torch.where(small, 2 / 3, -1 / 3)
    c = torch.rsqrt(9 * d)
    found = torch.full_like(shape, math.nan)
    waiting = (~shape.isnan()).nonzero().squeeze(1)
    attempt = 0
    while waiting.numel():
        x = normals.draw(attempt, random.normal)[0][waiting]
        u, boost = (1 - pair[waiting] for pair in uniforms.draw(attempt, random.uniform))
        t, d_here = c[waiting] * x, d[waiting]
        log = torch.log1p(t)
        # x^2 / 2 + d - d v + d log v of v = (1 + t)^3, where d t^2 = x^2 / 9.
        bound = x * x * (1 / 6 - t / 9) - 3 * lack_of_log(d_here, d_here * t, t, 1 + t, log)
        accepted = (t > -1) & (u.log() < bound)
        here = waiting[accepted]
        value = (d_here[accepted] / shape[here]) * (1 + t[accepted]) ** 3
        found[here] = torch.where(small[here], value * (boost[accepted].log() / shape[here]).exp(), value)
        waiting = waiting[~accepted]
        attempt += 1
    return found


def poisson(noise: Pairs, rate: Tensor) -> Tensor:
    """Poisson variates, flat, as float64; nan of a rate that is nan or negative, inf of an infinite one."""
    found = torch.where(rate == math.inf, rate, math.nan)
    inversion, rejection = noise.split(2)
    _invert(inversion, rate, ((rate >= 0) & (rate < _INVERTED)).nonzero().squeeze(1), found)
    _reject(rejection, rate, ((rate >= _INVERTED) & (rate < math.inf)).nonzero().squeeze(1), found)
    return found


def _invert(noise: Pairs, rate: Tensor, waiting: Tensor, found: Tensor) -> None:
    """The least k with U < P(X <= k)."""
    if not waiting.numel():
        return
    u, rate = noise.draw(0, random.uniform)[0][waiting], rate[waiting]
    mass = torch.exp(-rate)
    below = mass
    for k in range(_MOST_INVERTED + 1):
        done = u < below if k < _MOST_INVERTED else torch.ones_like(u, dtype=torch.bool)
        found[waiting[done]] = float(k)
        waiting, u, rate, mass, below = (t[~done] for t in (waiting, u, rate, mass, below))
        if not waiting.numel():
            return
        mass = mass * rate / (k + 1)
        below = below + mass


def _reject(noise: Pairs, rate: Tensor, waiting: Tensor, found: Tensor) -> None:
    attempt = 0
    while waiting.numel():
        u, v = (pair[waiting] for pair in noise.draw(attempt, random.uniform))
        mean = rate[waiting]
        b = 0.931 + 2.53 * mean.sqrt()
        a = -0.059 + 0.02483 * b
        u, v = u - 0.5, 1 - v
        edge = 0.5 - u.abs()
        k = torch.floor((2 * a / edge + b) * u + mean + 0.43)
        inside = (edge >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        outside = (k < 0) | ((edge < 0.013) & (v > edge))
        hat = torch.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (edge * edge) + b))
        accepted = inside | (~outside & (hat <= _log_mass(k, mean)))
        found[waiting[accepted]] = k[accepted]
        waiting = waiting[~accepted]
        attempt += 1


def _log_mass(k: Tensor, rate: Tensor) -> Tensor:
    """log P(X = k), in the form of Loader (2000): k log rate - rate - log k! would cancel."""
    above = k.clamp(min=1)
    v = (rate - above) / above
    lack = lack_of_log(above, rate - above, v, rate / above, torch.log(rate / above))
    return torch.where(k == 0, -rate, -lack - 0.5 * torch.log(2 * math.pi * above) - stirling_error(above))
