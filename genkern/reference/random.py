"""Philox4x32-10 and the maps from its words to noise, in plain torch (Salmon et al. 2011, "Parallel random
numbers: as easy as 1, 2, 3"; docs/random.md has the layout bit by bit)."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference.definition import Definition
from genkern.reference.options import Result

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_LEAST = -(2**63)
# The upper counter words of a reserved key: "genkern" in ASCII. torch's own kernels use counters with small
# upper words, so a folded key shares no block with a later torch.randn of the same seed.
_FOLD = (0x67656E6B, 0x65726E00)
Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox4x32(seed: Tensor, low: Tensor, high: Tensor | int = 0) -> Words:
    """Ten rounds over 64-bit seeds and the halves of 128-bit counters (int64 bit patterns); words 0..2**32 - 1."""
    k0, k1 = seed & _MASK, (seed >> 32) & _MASK
    c0, c1 = low & _MASK, (low >> 32) & _MASK
    if isinstance(high, int):
        high = torch.full_like(low, high)
    c2, c3 = high & _MASK, (high >> 32) & _MASK
    for _ in range(10):
        # int64 products wrap, but their bits are those of the unsigned product; the mask drops the sign extension.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((p1 >> 32) & _MASK) ^ c1 ^ k0, p1 & _MASK, ((p0 >> 32) & _MASK) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _signed(bits: int) -> int:
    """The int64 with the bit pattern of a 64-bit unsigned value."""
    return bits - (1 << 64) if bits >= 1 << 63 else bits


def _join(x0: Tensor, x1: Tensor, x2: Tensor, x3: Tensor) -> Tensor:
    # `to` keeps the bits of a 64-bit integer, here and below; torch 2.11 and 2.12 have no vmap of `view` to a dtype.
    return torch.stack((x0 | (x1 << 32), x2 | (x3 << 32)), dim=-1).to(torch.uint64)


@Definition
def key_split(key: Tensor, num: int) -> Iterator[Any]:
    check_derivation(key, "num", num)
    yield Result((num, 2), key.dtype, key.device)
    seed, offset = key.to(torch.int64).unbind()
    yield _join(*philox4x32(seed, offset + torch.arange(num, device=key.device)))


@Definition
def key_fold_in(key: Tensor, data: int) -> Iterator[Any]:
    check_derivation(key, "data", data)
    yield Result((2,), key.dtype, key.device)
    seed, offset = key.to(torch.int64).unbind()
    yield _join(*philox4x32(seed, offset + data))


def fold(seed: Tensor, offset: Tensor) -> Tensor:
    """The key that a generator's raw (seed, offset), int64 bit patterns, stands for."""
    high = torch.full_like(offset, _signed(_FOLD[0] | _FOLD[1] << 32))
    return _join(*philox4x32(seed, offset, high))


def _cos_sin_2pi(u: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin of 2*pi*u: the quadrant is split off exactly, so that no digit of 2*pi*u is rounded away."""
    quarter = torch.round(4 * u)
    angle = (4 * u - quarter) * (math.pi / 2)
    c, s = torch.cos(angle), torch.sin(angle)
    q = quarter.to(torch.int64) & 3
    odd = (q & 1) == 1
    cosine = torch.where(odd, s, c) * torch.where((q == 1) | (q == 2), -1, 1)
    sine = torch.where(odd, c, s) * torch.where(q >= 2, -1, 1)
    return cosine, sine


def _box_muller(u1: Tensor, u2: Tensor) -> tuple[Tensor, Tensor]:
    radius = torch.sqrt(-2 * torch.log(u1))
    cosine, sine = _cos_sin_2pi(u2)
    return radius * cosine, radius * sine


def _normals(words: Words, wide: bool) -> tuple[Tensor, ...]:
    if wide:
        x0, x1, x2, x3 = words
        u1, u2 = ((a.double() * 2.0**-32 + b.double() * 2.0**-64) + 2.0**-65 for a, b in ((x0, x1), (x2, x3)))
        return _box_muller(u1, u2)
    # x * 2**-32 is exact, so multiply and add round once, as the fused form of the definition does.
    u = [w.to(torch.float32) * 2.0**-32 + 2.0**-33 for w in words]
    return *_box_muller(u[0], u[1]), *_box_muller(u[2], u[3])


def _uniforms(words: Words, wide: bool) -> tuple[Tensor, ...]:
    if wide:
        x0, x1, x2, x3 = words
        return tuple((((a & 0x1FFFFF) << 32) | b).double() * 2.0**-53 for a, b in ((x0, x1), (x2, x3)))
    return tuple((w & 0xFFFFFF).to(torch.float32) * 2.0**-24 for w in words)


def _noise(
    key: Tensor,
    shape: Sequence[int],
    dtype: torch.dtype,
    element_offset: int,
    device: torch.device | None,
    values: Callable[[Words, bool], tuple[Tensor, ...]],
) -> Iterator[Any]:
    """Noise that `values` makes of the words of each counter, for float64 or not, element after element."""
    _checks.key("key", key, device=device)
    _checks.sizes("shape", shape)
    _checks.dtype("dtype", dtype)
    _checks.integer("element_offset", element_offset, minimum=0)
    device = key.device if device is None else device
    yield Result(shape, dtype, device)
    per_counter = 2 if dtype == torch.float64 else 4
    first, skip, numel = element_offset // per_counter, element_offset % per_counter, math.prod(shape)
    seed, offset = key.to(device).to(torch.int64).unbind()
    counters = torch.arange((skip + numel + per_counter - 1) // per_counter, device=device)
    words = philox4x32(seed, offset + first + counters)
    flat = torch.stack(values(words, dtype == torch.float64), dim=-1).flatten()
    yield flat[skip : skip + numel].reshape(tuple(shape)).to(dtype)


@Definition
def random_normal(
    key: Tensor,
    shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    element_offset: int = 0,
    device: torch.device | None = None,
) -> Iterator[Any]:
    """Standard normal noise; element i is a function of (key, element_offset + i) alone."""
    return _noise(key, shape, dtype, element_offset, device, _normals)


@Definition
def random_uniform(
    key: Tensor,
    shape: Sequence[int],
    dtype: torch.dtype = torch.float32,
    element_offset: int = 0,
    device: torch.device | None = None,
) -> Iterator[Any]:
    """Uniform noise in [0, 1); element i is a function of (key, element_offset + i) alone."""
    return _noise(key, shape, dtype, element_offset, device, _uniforms)


def check_derivation(key: object, name: str, value: object) -> None:
    _checks.key("key", key)
    _checks.integer(name, value, minimum=0)


@Definition
def reserve(generator: torch.Generator | None = None, device: torch.device | None = None) -> Iterator[Any]:
    """A fresh key, folded from one 64-bit draw of `generator` (default: torch's default generator)."""
    yield Result((2,), torch.uint64, torch.device("cpu") if device is None else device)
    device = generator.device if generator is not None else device
    if torch._C._are_functorch_transforms_active():
        # vmap's `randomness` decides if rows draw apart, together or not at all; it knows no random_ for the first.
        # The word is the same, shifted to the signed range and back; of 2**64 values randint leaves out the last.
        draw = torch.randint(_LEAST, -_LEAST - 1, (), dtype=torch.int64, device=device, generator=generator) ^ _LEAST
    else:
        draw = torch.empty((), dtype=torch.int64, device=device)
        # A range of 2**64 is drawn as one 64-bit word, the same that the compiled path takes from the generator.
        draw.random_(_LEAST, None, generator=generator)
    yield fold(draw, torch.zeros_like(draw))
