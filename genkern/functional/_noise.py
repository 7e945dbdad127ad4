"""From `key=`, `generator=`, `eps=` or none of them to the noise that an operation takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genkern import _checks, random

Generators = torch.Generator | Sequence[torch.Generator]


def source(
    like: Tensor,
    key: Tensor | None,
    generator: Generators | None,
    eps: Tensor | None,
    shape: Sequence[int] = (),
    draw: Callable[..., Tensor] = random.normal,
) -> tuple[Tensor | None, Tensor | None, torch.Generator | None]:
    """`key`, `eps` and `generator` for an operation, which draws a key itself where the first two are None.

    `shape` is that of the noise, and `draw` makes it of a key; only a list of generators needs them.
    """
    if key is not None or eps is not None:
        if generator is not None or (key is not None and eps is not None):
            raise ValueError("key, generator, eps: expected at most one of the three")
        return key, eps, None
    if generator is None or isinstance(generator, torch.Generator):
        return None, None, generator
    return None, _noise_by_row(like, shape, generator, draw), None


def _noise_by_row(
    like: Tensor, shape: Sequence[int], generators: Sequence[torch.Generator], draw: Callable[..., Tensor]
) -> Tensor:
    """Row i is drawn from generator i alone, so that it does not depend on its neighbours."""
    if not isinstance(generators, list | tuple) or not all(isinstance(g, torch.Generator) for g in generators):
        raise TypeError(f"generator: expected a torch.Generator or a list of them, got {_checks.type_name(generators)}")
    if not shape or len(generators) != shape[0]:
        raise ValueError(f"generator: expected one per row of the sample {tuple(shape)}, got {len(generators)}")
    dtype = _checks.compute_dtype(like)
    rows = [draw(random.reserve(g, g.device), tuple(shape[1:]), dtype=dtype, device=like.device) for g in generators]
    return torch.stack(rows) if rows else like.new_empty(tuple(shape), dtype=dtype)
