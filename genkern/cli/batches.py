"""Batches of images as a function of the step: an endless row of epochs, each in an order of its own."""

import torch
from torch import Tensor

from genkern import random
from genkern.cli.data import Pixels
from genkern.cli.parallel import Ranks


class Batches:
    """Batches of `size` images; of each, this rank's rows."""

    def __init__(self, images: Pixels, size: int, key: Tensor, ranks: Ranks) -> None:
        ranks.require_shares(size)
        self.images = images
        self.size = size
        self.rows = ranks.rows(size)
        self._key = key
        self._order: tuple[int, Tensor] | None = None

    def at(self, step: int) -> Tensor:
        """The batch of a step."""
        first, images = step * self.size, self.images
        chosen = range(first + self.rows.start, first + self.rows.stop)
        return images[torch.stack([self._epoch(at // len(images))[at % len(images)] for at in chosen])]

    def _epoch(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            draws = random.uniform(random.fold_in(self._key, epoch), (len(self.images),))
            self._order = epoch, draws.argsort(stable=True)
        return self._order[1]
