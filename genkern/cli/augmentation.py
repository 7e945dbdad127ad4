"""A photograph, mirrored and moved a little, is as good a photograph: more of them from few."""

import torch
from torch import Tensor
from torch.nn import functional as torch_functional

from genkern import random

_SHIFT = 0.12
_ZOOM = 0.06
_BRIGHTNESS = 0.05
_CONTRAST = 0.08
_CUBIC = -0.75


def augmented(x: Tensor, key: Tensor, size: int, rows: slice) -> Tensor:
    """Mirrored, moved, nearer or farther, brighter or darker, each image its own way.

    `x` are these `rows` of a batch of `size`: what happens to an image does not depend on who has the others.
    """
    mirror, scale, right, below, gain, offset = _draws(key, size, rows, x.device)
    zero = torch.zeros_like(scale)
    affine = torch.stack([torch.stack([mirror * scale, zero, right], 1), torch.stack([zero, scale, below], 1)], 1)
    grid = torch_functional.affine_grid(affine, list(x.shape), align_corners=False)
    moved = torch_functional.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return _exposed(moved, gain, offset).clamp(0, 1)


def mirrored(x: Tensor, key: Tensor, size: int, rows: slice) -> Tensor:
    """Images mirrored as `augmented` mirrors them with this key."""
    return torch.where(_draws(key, size, rows, x.device)[0].view(-1, 1, 1, 1) < 0, x.flip(-1), x)


def smoothly_augmented(x: Tensor, key: Tensor, size: int, rows: slice) -> Tensor:
    """Images as `augmented` gives them, but neither mirrored nor clamped: linear in each, with all derivatives.

    A penalty asks for the second one, which torch's resampling lacks. Here rows and columns are resampled apart, each
    by a matrix.
    """
    _, scale, right, below, gain, offset = _draws(key, size, rows, x.device)
    by_rows = _resampling(scale, below, x.shape[-2]).unsqueeze(1).to(x.dtype)
    by_columns = _resampling(scale, right, x.shape[-1]).unsqueeze(1).to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return _exposed(by_rows @ x @ by_columns.mT, gain, offset)


def _draws(key: Tensor, size: int, rows: slice, device: torch.device) -> list[Tensor]:
    """The draws of each image: −1 or 1, scale, shifts, contrast, brightness."""
    mirror, right, below, nearer, gain, offset = 2 * random.uniform(key, (6, size), device=device)[:, rows] - 1
    mirror = torch.where(mirror < 0, -1.0, 1.0)
    return [mirror, 1 + _ZOOM * nearer, _SHIFT * right, _SHIFT * below, _CONTRAST * gain, _BRIGHTNESS * offset]


def _exposed(x: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    gain, offset = (value.view(-1, 1, 1, 1) for value in (gain, offset))
    return (x - 0.5) * (1 + gain) + 0.5 + offset


def _resampling(scale: Tensor, shift: Tensor, pixels: int) -> Tensor:
    """``[B, pixels, pixels]``: cubic convolution (Keys 1981, a = −3/4 as in torch), the border going on for ever."""
    centres = (torch.arange(pixels, device=scale.device) + 0.5) * (2 / pixels) - 1
    source = ((scale.unsqueeze(1) * centres + shift.unsqueeze(1) + 1) * pixels - 1) / 2
    first = source.floor()
    after = source - first

    def near(d: Tensor) -> Tensor:
        return ((_CUBIC + 2) * d - (_CUBIC + 3)) * d * d + 1

    def far(d: Tensor) -> Tensor:
        return ((_CUBIC * d - 5 * _CUBIC) * d + 8 * _CUBIC) * d - 4 * _CUBIC

    columns, matrix = torch.arange(pixels, device=scale.device), torch.zeros((), device=scale.device)
    for place, weight in enumerate((far(after + 1), near(after), near(1 - after), far(2 - after)), start=-1):
        hit = (first + place).clamp(0, pixels - 1).unsqueeze(-1) == columns
        matrix = matrix + torch.where(hit, weight.unsqueeze(-1), 0.0)  # in this order, on every device
    return matrix
