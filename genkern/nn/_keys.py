"""One key for a call that needs several."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genkern import random

__all__ = ["one_key"]


def one_key(device: torch.device, *, key: Tensor | None = None, generator: Any = None) -> Tensor:
    """`key`, or one drawn from `generator` or torch's default generator of `device`."""
    if key is not None and generator is not None:
        raise ValueError("key, generator: expected at most one of them, got both")
    return random.reserve(generator, device) if key is None else key
