"""Arguments as nobody would think them up: shapes, memory layouts, dtypes and numbers, drawn from a seed.

A `Draw` collects the arguments of one call; tests/support/drawn_operations.py says which ones an operation takes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

import genkern as gk
from support.inputs import DTYPES, EXTREMES, LAYOUTS, Shape, fits, numel

T = TypeVar("T")

# Sizes: mostly small, for speed; 16 and 17 about a vector, 513 beyond a tile of the CPU's kernels.
SIZES = ((1, 6), (2, 8), (3, 8), (4, 4), (5, 3), (7, 2), (8, 1), (16, 1), (17, 1), (33, 1), (0, 0.7))
LARGE = (257, 513, 1031)
MOST_ELEMENTS = 240

# What the numbers of a call are like.
MOODS = (
    ("usual", 10),
    ("tiny", 2),
    ("large", 2),
    ("extreme", 5),  # some of them, but finite
    ("not finite", 3),  # and infinities and nan
    ("constant", 1),
    ("zeros", 2),  # some of them
    ("twins", 2),  # arguments of one kind are equal
    ("near twins", 3),  # or nearly
)


@dataclass(frozen=True)
class Noise:
    """What the definition is given in the place of a key or generators: the noise that they stand for."""

    law: Callable[..., Tensor]  # of a key and a shape, such as gk.random.normal
    shape: Shape
    arguments: tuple[str, ...]  # float64 where one of these is
    offset: int = 0


@dataclass(frozen=True)
class Seeds:
    """Generators, fresh ones for each call: one, or one a row."""

    seeds: tuple[int, ...]
    listed: bool

    def generators(self) -> torch.Generator | list[torch.Generator]:
        made = [torch.Generator().manual_seed(seed) for seed in self.seeds]
        return made if self.listed else made[0]


class Draw:
    """The arguments of call `index` of an operation, the same in every run."""

    def __init__(self, operation: str, index: int) -> None:
        self.random = random.Random(f"{operation} {index}")
        self.numbers = torch.Generator().manual_seed(self.random.getrandbits(60))
        self.mood = self.weighted(MOODS)
        self.dtype = self.one(DTYPES) if self.chance(0.6) else None
        self.tensors: dict[str, Tensor] = {}
        self.options: dict[str, Any] = {}
        self.twins: dict[str, Tensor] = {}
        self.noise: Noise | None = None

    def one(self, values: Sequence[T]) -> T:
        return self.random.choice(values)

    def weighted(self, values: Sequence[tuple[T, float]]) -> T:
        return self.random.choices([v for v, _ in values], [w for _, w in values])[0]

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def option(self, name: str, values: Sequence[Any], probability: float = 0.5) -> Any:
        """Mostly the default, else one of `values`; which, or None."""
        if not self.chance(probability):
            return None
        self.options[name] = self.one(values)
        return self.options[name]

    def noisy(self, noise: Noise, law: str) -> None:
        """A key, a generator, one a row, or the noise itself by its `law`, as another argument."""
        self.noise = noise
        source = self.weighted([("key", 5), ("eps", 3), ("generator", 1), ("generators", 1)])
        if source == "eps":
            self.tensor("eps", noise.shape, law)
        elif source == "key":
            self.options["key"] = gk.random.key(self.random.getrandbits(64), self.random.choice((0, 5, 2**64 - 3)))
        elif source == "generators" and noise.shape and noise.offset == 0:
            self.options["generator"] = Seeds(tuple(self.random.getrandbits(60) for _ in range(noise.shape[0])), True)
        else:
            self.options["generator"] = Seeds((self.random.getrandbits(60),), False)

    def shape(self, least: int = 0, most: int = 6) -> Shape:
        ndim = self.weighted([(n, w) for n, w in enumerate((1, 3, 5, 4, 3, 2, 2)) if least <= n <= most])
        sizes = [self.weighted(SIZES) for _ in range(ndim)]
        while numel(sizes) > MOST_ELEMENTS:
            sizes[sizes.index(max(sizes))] = 1
        if ndim and self.chance(0.03):
            sizes = [min(size, 2) for size in sizes]
            sizes[self.random.randrange(ndim)] = self.one(LARGE)
        return tuple(sizes)

    def part(self, shape: Shape) -> Shape:
        """A shape that broadcasts to `shape`, mostly it."""
        if self.chance(0.65):
            return shape
        left = shape[self.random.randint(0, len(shape)) :] if self.chance(0.5) else shape
        return tuple(1 if self.chance(0.35) else size for size in left)

    def tensor(self, name: str, shape: Shape, law: str = "real", twin: str | None = None) -> Tensor:
        """An argument by its law (see `_numbers`); `twin`: those of the same kind may be drawn equal."""
        dtype = self.dtype or self.one(DTYPES)
        values = self._moody(self._numbers(shape, law), law, dtype)
        before = self.twins.get(twin or "")
        if before is not None and self.mood in ("twins", "near twins") and self.chance(0.8):
            values = _fitted(before, shape)
            if self.mood == "near twins":
                distance = 10.0 ** self.random.uniform(-8, -1)
                values = values * (1 + distance * self._normal(shape))
        if twin:
            self.twins[twin] = values
        self.tensors[name] = self.laid_out(values.to(dtype))
        return self.tensors[name]

    def laid_out(self, t: Tensor) -> Tensor:
        """The same numbers, but for "expanded", somewhere in memory."""
        layout = self.weighted([("contiguous", 5), *((name, 1) for name in MORE_LAYOUTS)])
        if layout in LAYOUTS:
            return LAYOUTS[layout](t) if fits(layout, tuple(t.shape)) and t.shape[:1] != (0,) else t
        return MORE_LAYOUTS[layout](t, self.random)

    def _normal(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=self.numbers, dtype=torch.float64)

    def _uniform(self, shape: Sequence[int]) -> Tensor:
        return torch.rand(tuple(shape), generator=self.numbers, dtype=torch.float64)

    def _numbers(self, shape: Shape, law: str) -> Tensor:
        normal = self._normal(shape)
        if law == "positive":
            return normal.abs() + 0.3
        if law == "logit":
            return 3 * normal
        if law == "unit":
            return (0.6 * normal + 0.5).clamp(0, 1)
        if law == "level":  # one of 256 in [-1, 1], some black or white
            return (64 * normal).round().mul(2 / 255).add(1 / 255).clamp(-1, 1)
        if law == "uniform":
            return self._uniform(shape)
        if law == "gumbel":
            return -torch.log(-torch.log(self._uniform(shape).clamp(1e-9, 1 - 1e-9)))
        if law == "mass":  # over the last dimension, some of them 0
            return torch.softmax((2 * normal).masked_fill(self._uniform(shape) < 0.1, -math.inf), -1).nan_to_num()
        assert law == "real"
        return normal

    def _moody(self, values: Tensor, law: str, dtype: torch.dtype) -> Tensor:
        if self.mood in ("extreme", "not finite") and values.numel():
            info = torch.finfo(dtype)
            finite = [*(e for e in EXTREMES if math.isfinite(e)), 1.0, -0.5, 60.0, 104.0, 1e19]
            # torch's own logarithm, and with it the oracle, is wrong for float64 numbers below about 1e-307.
            least = [1e-300] if dtype == torch.float64 else [info.tiny, info.tiny * info.eps * 3]
            finite += [info.max, -info.max, info.eps, *least]
            odd = finite if self.mood == "extreme" else [*finite[::4], math.inf, -math.inf, math.nan]
            if law in ("positive", "unit", "uniform", "mass"):
                odd = [abs(e) for e in odd] if law == "positive" else [e for e in odd if not abs(e) > 1 and e >= 0]
            numbers = torch.tensor(odd or [0.0, 1.0], dtype=torch.float64)
            places = torch.randint(len(numbers), values.shape, generator=self.numbers)
            share = 1.0 if self.chance(0.2) else 0.25
            return torch.where(self._uniform(values.shape) < share, numbers[places], values)
        if self.mood == "tiny" and law in ("real", "logit"):
            return values * 10.0 ** self.random.uniform(-12, -2)
        if self.mood == "large" and law in ("real", "logit", "positive"):
            return values * 10.0 ** self.random.uniform(0.5, 3)
        if self.mood == "constant" and values.numel():
            return values.flatten()[0].expand(values.shape).clone()
        if self.mood == "zeros":
            zeros = torch.where(self._uniform(values.shape) < 0.5, 0.0, -0.0 if law == "real" else 0.0).double()
            return torch.where(self._uniform(values.shape) < 0.4, zeros, values)
        return values


def _fitted(values: Tensor, shape: Shape) -> Tensor:
    """The numbers of another shape, in their order, again and again."""
    count = numel(shape)
    if not values.numel():
        return torch.zeros(shape, dtype=values.dtype)
    if values.shape == shape:
        return values.clone()
    return values.flatten().repeat(-(-count // values.numel()))[:count].reshape(shape)


def _permuted(t: Tensor, chosen: random.Random) -> Tensor:
    order = list(range(t.dim()))
    chosen.shuffle(order)
    inverse = sorted(range(t.dim()), key=order.__getitem__)
    return t.permute(order).contiguous().permute(inverse)


def _reversed(t: Tensor, _: random.Random) -> Tensor:
    order = list(reversed(range(t.dim())))
    return t.permute(order).contiguous().permute(order)


def _stepped(t: Tensor, chosen: random.Random) -> Tensor:
    """Every second or third place of something larger, which begins somewhere."""
    steps = [chosen.choice((1, 2, 3)) for _ in t.shape]
    larger = t.new_full([size * step + 2 for size, step in zip(t.shape, steps, strict=True)], math.nan)
    place = tuple(slice(1, 1 + size * step, step) for size, step in zip(t.shape, steps, strict=True))
    larger[place] = t
    return larger[place]


def _expanded_somewhere(t: Tensor, chosen: random.Random) -> Tensor:
    for dim, size in enumerate(t.shape):
        if size and chosen.random() < 0.5:
            t = t.narrow(dim, 0, 1).expand(t.shape)
    return t


def _windows(t: Tensor, _: random.Random) -> Tensor:
    """Rows that overlap in memory: each begins one element after the one before it."""
    if t.dim() < 2 or not t.numel():
        return t
    line = t.flatten()[: t.shape[-2] + t.shape[-1] - 1]
    if line.numel() < t.shape[-2] + t.shape[-1] - 1:
        return t
    return line.clone().as_strided(t.shape[-2:], (1, 1)).expand(t.shape)


MORE_LAYOUTS: dict[str, Callable[[Tensor, random.Random], Tensor]] = {
    **{name: lambda t, _, name=name: t for name in LAYOUTS if name != "contiguous"},  # by `laid_out`
    "permuted": _permuted,
    "reversed": _reversed,
    "stepped": _stepped,
    "expanded somewhere": _expanded_somewhere,
    "windows": _windows,
}
