"""Samples of any model, so many at a time as memory has room for, and paths between points of its latent space."""

from collections.abc import Callable, Iterable
from math import prod

import torch
from torch import Tensor

from genkern import random
from genkern.nn import GAN, VAE

_ROWS = 256


def drawn(model: GAN | VAE, num: int, key: Tensor, track: Callable[[list[int]], Iterable[int]] = iter) -> Tensor:
    """``[num, ...]`` at temperature 1; the parts make the whole that one call would have made."""
    size, firsts = prod(model.latent_shape or ()), list(range(0, num, _ROWS))
    parts = [model.sample(min(_ROWS, num - at), key=key, element_offset=at * size) for at in track(firsts)]
    return torch.cat(parts)


def paths(model: GAN | VAE, num: int, steps: int, key: Tensor) -> Tensor:
    """``[num * steps, ...]``: points of `num` spherical paths, each from one draw of z ~ N(0, I) to another."""
    where = next(model.parameters()).device
    start, end = random.normal(key, (2, num, *(model.latent_shape or ())), device=where)
    return torch.stack([slerp(start, end, step / (steps - 1)) for step in range(steps)], dim=1).flatten(0, 1)


def slerp(start: Tensor, end: Tensor, at: float) -> Tensor:
    """The point at a share `at` of the arc between rows of two tensors (Shoemake 1985).

    Norms along it are those of draws of N(0, I), which on a straight line get smaller (White 2016).
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1).clamp(-1, 1)
    angle = cosine.acos().unsqueeze(-1)
    weights = torch.sin((1 - at) * angle) / angle.sin(), torch.sin(at * angle) / angle.sin()
    return weights[0] * start + weights[1] * end
