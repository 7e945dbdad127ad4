"""Images as they are read: a few at a time, from memory or from a file, whatever their number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genkern import random

_AT_ONCE = 4096
WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
"""The stored number that is 1, by the type; floating numbers are as they are."""
Rows = Callable[[np.ndarray], np.ndarray]


class Pixels:
    """Images ``[N, C, H, W]``; what is indexed comes as float32 in [0, 1].

    Parameters
    ----------
    shape : ``(C, H, W)``
    rows : the stored images of an array of places
    places : which of the stored images these are, in their order
    device : where they come to, the CPU by default
    classes : the number of the class of each stored image, if they have any
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        rows: Rows,
        places: np.ndarray,
        device: torch.device | None = None,
        classes: np.ndarray | None = None,
    ) -> None:
        self.image_shape = shape
        self._rows = rows
        self._places = places
        self._device = device
        self._classes = classes

    @classmethod
    def of(cls, images: np.ndarray | Tensor, classes: np.ndarray | None = None) -> Pixels:
        """The images of an array in memory."""
        channels, height, width = images.shape[1:]
        array = images.numpy() if isinstance(images, Tensor) else images
        return cls((channels, height, width), array.__getitem__, np.arange(len(array)), None, classes)

    @classmethod
    def in_file(cls, path: Path, shape: tuple[int, int, int], dtype: str, count: int) -> Pixels:
        """The images of a file, one behind the other. They are read, not mapped: memory holds what is in use."""
        return cls(shape, partial(_read, path, shape, np.dtype(dtype)), np.arange(count))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self), *self.image_shape)

    @property
    def dims(self) -> int:
        """How many numbers an image has."""
        return int(np.prod(self.image_shape))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, which: int | slice | Tensor) -> Tensor:
        if isinstance(which, int):
            return self[which : which + 1 or None][0]
        stored = self._rows(self._places[which if isinstance(which, slice) else which.cpu().numpy()])
        return _unit(stored).to(self._device)

    def of_classes(self, classes: np.ndarray) -> Pixels:
        """The same images, of classes."""
        return Pixels(self.image_shape, self._rows, self._places, self._device, classes)

    def labels(self, which: slice | Tensor = slice(None)) -> Tensor | None:
        """The classes of the images that this index gives, int64; None where they have none."""
        if self._classes is None:
            return None
        found = self._classes[self._places[which if isinstance(which, slice) else which.cpu().numpy()]]
        return torch.from_numpy(found.astype(np.int64)).to(self._device)

    def some(self, places: np.ndarray) -> Pixels:
        """The images at these places."""
        return Pixels(self.image_shape, self._rows, self._places[places], self._device, self._classes)

    def on(self, device: torch.device) -> Pixels:
        """The same images, which come to another device."""
        return Pixels(self.image_shape, self._rows, self._places, device, self._classes)

    def sample(self, most: int) -> Pixels:
        """At most so many of the images, evenly spread."""
        if len(self) <= most:
            return self
        return self.some(np.linspace(0, len(self) - 1, most).round().astype(np.int64))

    def binarized(self, key: Tensor) -> Pixels:
        """The same images in black and white: a pixel is 1 with its intensity for a probability, drawn once."""
        drawn = partial(_binary, self._rows, key)
        return Pixels(self.image_shape, drawn, self._places, self._device, self._classes)

    def parts(self, rows: int = _AT_ONCE) -> Iterator[tuple[int, Tensor]]:
        """All of them, part by part, each with the number of its first row."""
        for first in range(0, len(self), rows):
            yield first, self[first : first + rows]

    def mean(self) -> Tensor:
        """The mean image."""
        if len(self) <= _AT_ONCE:
            return self[:].mean(dim=0)
        total = torch.zeros(self.image_shape, dtype=torch.float64)
        for _, part in self.parts():
            total += part.cpu().double().sum(dim=0)
        return (total / len(self)).float().to(self._device)

    def bytes(self) -> Iterator[bytes]:
        """As float32, part by part."""
        for _, part in self.parts():
            yield part.cpu().contiguous().numpy().tobytes()


def binary(images: Tensor, uniform: Tensor) -> Tensor:
    """1 where a number in [0, 1) is below the intensity, else 0."""
    return (uniform < images).to(images.dtype)


def _unit(stored: np.ndarray) -> Tensor:
    """Stored images as float32 in [0, 1]."""
    images = torch.from_numpy(np.ascontiguousarray(stored).astype(np.float32, copy=False))
    white = WHITE.get(stored.dtype)
    return images if white is None else images / white


def _binary(rows: Rows, key: Tensor, places: np.ndarray) -> np.ndarray:
    """The images at these places, binarized, each by draws of its own."""
    images = _unit(rows(places))
    draws = [random.uniform(random.fold_in(key, place), images.shape[1:]) for place in places.tolist()]
    return binary(images, torch.stack(draws)).numpy() if draws else images.numpy()


def _read(path: Path, shape: tuple[int, int, int], kind: np.dtype, places: np.ndarray) -> np.ndarray:
    """The images at these places of a file."""
    found = np.empty((len(places), *shape), kind)
    size = int(np.prod(shape)) * kind.itemsize
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        for row, place in enumerate(places):
            os.lseek(descriptor, int(place) * size, os.SEEK_SET)
            found[row] = np.frombuffer(os.read(descriptor, size), kind).reshape(shape)
    finally:
        os.close(descriptor)
    return found
