"""Samples of any model, so many at a time as memory has room for."""

from collections.abc import Callable, Iterable
from math import prod

import torch
from torch import Tensor

from genkern.nn import GAN, VAE

_ROWS = 256


def drawn(model: GAN | VAE, num: int, key: Tensor, track: Callable[[list[int]], Iterable[int]] = iter) -> Tensor:
    """``[num, ...]`` at temperature 1; the parts make the whole that one call would have made."""
    size, firsts = prod(model.latent_shape or ()), list(range(0, num, _ROWS))
    parts = [model.sample(min(_ROWS, num - at), key=key, element_offset=at * size) for at in track(firsts)]
    return torch.cat(parts)
