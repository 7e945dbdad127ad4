"""Helpers that the distributions share."""

import math

import torch
from torch import Tensor

VALIDATE = False
"""The default of `validate_args`: a check waits for the device."""


def floating(value: Tensor | float, like: Tensor) -> Tensor:
    """A value as the operations take it; torch's own distributions take numbers and integers, too."""
    if not isinstance(value, Tensor):
        return torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return value if value.is_floating_point() else value.to(like.dtype)


def has_masses(d: torch.distributions.Categorical) -> bool:
    """Whether it was made of masses rather than of logits."""
    return d.__dict__.get("probs") is d._param


def normal_cdf(value: Tensor, loc: Tensor, std: Tensor) -> Tensor:
    """½ erfc((loc − value) / (σ √2)), which keeps its digits in the lower tail."""
    return 0.5 * torch.special.erfc((loc - value) / (std * math.sqrt(2)))


def normal_icdf(value: Tensor, loc: Tensor, std: Tensor) -> Tensor:
    """The inverse of `normal_cdf`; float32 inside where storage is narrower."""
    wide = torch.promote_types(value.dtype, torch.float32)
    return loc + std * torch.special.ndtri(value.to(wide)).to(value.dtype)
