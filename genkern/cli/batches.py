"""Batches of images as a function of the step: an endless row of epochs, each in an order of its own."""

import signal
from collections.abc import Iterator
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genkern import random
from genkern.cli.data import Pixels
from genkern.cli.engine import Engine


class Batches(Dataset[Tensor]):
    """Batches of `size` images, a step each; of every batch this process's rows."""

    def __init__(self, images: Pixels, size: int, key: Tensor, engine: Engine) -> None:
        self.images = images
        self.size = size
        self.rows = engine.rows(size)
        self._key, self._device = key, engine.device
        self._order: tuple[int, Tensor] | None = None

    def __getitem__(self, step: int) -> Tensor:
        return self.images[self._places(step)]

    def labels(self, step: int) -> Tensor | None:
        """The classes of the images of this step, if they have some, on the device."""
        labels = self.images.labels(self._places(step))
        return None if labels is None else labels.to(self._device)

    def _places(self, step: int) -> Tensor:
        first, number = step * self.size, len(self.images)
        chosen = range(first + self.rows.start, first + self.rows.stop)
        return torch.stack([self._epoch(at // number)[at % number] for at in chosen])

    def _epoch(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            draws = random.uniform(random.fold_in(self._key, epoch), (len(self.images),))
            self._order = epoch, draws.argsort(stable=True)
        return self._order[1]


def stream(batches: Batches, first: int, engine: Engine) -> Iterator[Tensor]:
    """The batches of step `first` and all after it, on the device, whichever process reads them."""
    endless: Any = count(first)
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=endless,
        num_workers=engine.workers,
        pin_memory=engine.device.type == "cuda",
        worker_init_fn=_deaf,
    )
    for batch in loader:
        yield batch.to(engine.device, non_blocking=True)


def _deaf(worker: int) -> None:
    """A signal to all processes is for the one that trains, which ends the workers."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
