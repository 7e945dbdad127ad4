"""A schedule that objectives share."""

import torch
from torch import Tensor, nn

from genkern import _checks
from genkern.nn._buffers import update_buffers


class Warmup(nn.Module):
    """Counts its calls in training mode, over the first `warmup` of which something grows from 0 to all of itself."""

    step: Tensor

    def __init__(self, warmup: int) -> None:
        super().__init__()
        self.warmup = _checks.integer("warmup", warmup, minimum=0)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def _progress(self) -> Tensor | float:
        """The part of the schedule that has passed; a tensor, so that a compiled graph is not rebuilt each step."""
        if self.warmup == 0:
            return 1.0
        return (self.step / self.warmup).clamp(max=1.0)

    def _advance(self) -> None:
        if self.training:
            update_buffers(self, ("step",), lambda step: (step + 1,))
