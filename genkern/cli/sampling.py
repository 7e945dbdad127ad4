"""Samples of any model, so many at a time as memory has room for."""

from math import prod

import torch
from torch import Tensor

from genkern.nn import GAN, VAE

_ROWS = 256


def drawn(model: GAN | VAE, num: int, key: Tensor) -> Tensor:
    """``[num, ...]`` at temperature 1; the parts make the whole that one call would have made."""
    size = prod(model.latent_shape or ())
    parts = [
        model.sample(min(_ROWS, num - first), key=key, element_offset=first * size) for first in range(0, num, _ROWS)
    ]
    return torch.cat(parts)
