"""Samples of any model, so many at a time as memory has room for, and paths between points of its latent space.

`labels` are the classes of conditional models.
"""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor

from genkern import random
from genkern.nn import GAN, VAE, HierarchicalVAE

Model = GAN | VAE | HierarchicalVAE
_ROWS = 256
_MOST_CLASSES = 32


def drawn(
    model: Model,
    num: int,
    key: Tensor,
    track: Callable[[list[int]], Iterable[int]] = iter,
    labels: Tensor | None = None,
) -> Tensor:
    """``[num, ...]`` at temperature 1; the parts make the whole that one call would have made."""
    size, where, parts = prod(model.latent_shape or ()), next(model.parameters()).device, []
    for at in track(list(range(0, num, _ROWS))):
        rows = min(_ROWS, num - at)
        condition = None if labels is None else labels[at : at + rows].to(where)
        parts.append(model.sample(rows, condition=condition, key=key, element_offset=at * size))
    return torch.cat(parts)


def pictures_of(model: Model, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """Mean images of points of the latent space; of a hierarchy, the noise of all its levels, one behind another."""
    told = {} if labels is None else {"condition": labels.to(z.device)}
    if isinstance(model, GAN):
        return (model.average or model.generator)(z, **told)
    if isinstance(model, VAE):
        return model.likelihood.mean(model.decode(z, **told))
    decoder: Any = model.decoder
    h = decoder.start(z.shape[0], **told)
    for level, noise in zip(decoder.levels, z.split(model.sizes, dim=1), strict=True):
        loc, scale, h = level.prior(level.enter(h))
        h = level.merge(h, loc + scale.exp() * noise.unflatten(1, level.latent_shape))
    return model.likelihood.mean(decoder.finish(h))


def rows_of_classes(classes: int | None, columns: int, rows: int | None = None) -> Tensor | None:
    """The labels of a picture with a row a class, of the first ones where they are many; of `rows`, one by one again.

    None without classes.
    """
    if classes is None:
        return None
    return (torch.arange(rows or min(classes, _MOST_CLASSES)) % classes).repeat_interleave(columns)


def paths(model: Model, num: int, steps: int, key: Tensor) -> Tensor:
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
