"""Images as they are read: a few at a time, from memory or from a file, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images ``[N, C, H, W]``; what is indexed comes as float32 in [0, 1]."""

    image_shape: tuple[int, int, int]
    rows: Rows
    """The stored images of an array of places."""
    places: np.ndarray
    """Which of the stored images these are, in their order."""
    device: torch.device | None = None
    """The device of what is indexed; None is the CPU."""
    classes: np.ndarray | None = None
    """The number of the class of each stored image, if they have any."""

    @classmethod
    def of(cls, images: np.ndarray | Tensor, classes: np.ndarray | None = None) -> Pixels:
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
        return int(np.prod(self.image_shape))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: int | slice | Tensor) -> Tensor:
        if isinstance(which, int):
            return self[which : which + 1 or None][0]
        stored = self.rows(self.places[which if isinstance(which, slice) else which.cpu().numpy()])
        return _unit(stored).to(self.device)

    def of_classes(self, classes: np.ndarray) -> Pixels:
        return replace(self, classes=classes)

    def labels(self, which: slice | Tensor = slice(None)) -> Tensor | None:
        """The classes of the images that this index gives, int64; None where they have none."""
        if self.classes is None:
            return None
        found = self.classes[self.places[which if isinstance(which, slice) else which.cpu().numpy()]]
        return torch.from_numpy(found.astype(np.int64)).to(self.device)

    def some(self, places: np.ndarray) -> Pixels:
        return replace(self, places=self.places[places])

    def on(self, device: torch.device) -> Pixels:
        return replace(self, device=device)

    def sample(self, most: int) -> Pixels:
        """At most so many of the images, evenly spread."""
        if len(self) <= most:
            return self
        return self.some(np.linspace(0, len(self) - 1, most).round().astype(np.int64))

    def binarized(self, key: Tensor) -> Pixels:
        """The same images in black and white: a pixel is 1 with its intensity for a probability, drawn once."""
        return replace(self, rows=partial(_binary, self.rows, key))

    def parts(self, rows: int = _AT_ONCE) -> Iterator[tuple[int, Tensor]]:
        """All of them, part by part, each with the number of its first row."""
        for first in range(0, len(self), rows):
            yield first, self[first : first + rows]

    def mean(self) -> Tensor:
        if len(self) <= _AT_ONCE:
            return self[:].mean(dim=0)
        total = torch.zeros(self.image_shape, dtype=torch.float64)
        for _, part in self.parts():
            total += part.cpu().double().sum(dim=0)
        return (total / len(self)).float().to(self.device)

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
    found = np.empty((len(places), *shape), kind)
    with path.open("rb", buffering=0) as file:
        for image, place in zip(found, places, strict=True):
            file.seek(int(place) * image.nbytes)
            if file.readinto(image) != image.nbytes:
                raise OSError(f"{path}: expected {image.nbytes} bytes of image {place}, got fewer")
    return found
