"""Images for the commands: faces from scikit-image, digits from scikit-learn, or the user's (`sources`)."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from genkern.cli.data.cache import Described, decoded
from genkern.cli.data.pixels import Pixels
from genkern.cli.data.sources import Arrays, find, is_named
from genkern.cli.errors import CommandError, optional

__all__ = ["BAD_IMAGES", "Images", "Pixels", "is_named", "load_images"]

BAD_IMAGES = ("stop", "skip")
_HELD_OUT_EVERY = 5
_FACES = 100
_NAMED = 5


@dataclass(frozen=True)
class Images:
    """A data set, split: every fifth image is held out, whatever the seed, so that runs can be compared."""

    name: str
    train: Pixels
    held_out: Pixels
    augment: bool
    """Whether a mirrored or slightly shifted image is as good a datum; so for photographs, not for digits."""
    classes: tuple[str, ...] = ()
    """The folders of the first level, if the images lie in some."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about files that were left out or changed."""
    digest: str | None = None
    """The fingerprint, where it is known already."""

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.train.image_shape

    def on(self, device: torch.device) -> "Images":
        """The same images, which come to another device."""
        return replace(self, train=self.train.on(device), held_out=self.held_out.on(device), digest=self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """Tells a resumed run that its data have changed."""
        if self.digest is not None:
            return self.digest
        digest = hashlib.sha256()
        for part in (self.train, self.held_out):
            digest.update(repr(part.shape).encode())
            for content in part.bytes():
                digest.update(content)
        return digest.hexdigest()[:16]


def load_images(
    data: str, size: int, *, bad: str = "stop", cache: Path | None = None, console: Console | None = None
) -> Images:
    """``"faces"``, ``"digits"``, or what `sources.find` finds; image files are cropped to squares of `size` pixels.

    Arrays keep their size. Files are decoded once, into `cache` or a folder beside them.
    """
    if data == "faces":
        return _split("faces", Pixels.of(_faces()), augment=True)
    if data == "digits":
        return _split("digits", Pixels.of(_digits()), augment=False)
    source, name = find(data), data if is_named(data) else Path(data).resolve().name
    if isinstance(source, Arrays):
        train = Pixels.of(source.train)
        if source.held_out is None:
            return _split(name, train, augment=False)
        if source.held_out.shape[1:] != source.train.shape[1:]:
            raise CommandError(f"--data: expected held-out images of shape {train.image_shape} in {data!r}")
        return Images(name, train, Pixels.of(source.held_out), augment=False)
    pixels, described = decoded(source, size, cache, bad, console or Console(quiet=True))
    classes = described.classes if len(described.classes) > 1 else []
    digest = hashlib.sha256(f"{pixels.shape} {described.dtype} {described.digest}".encode()).hexdigest()[:16]
    return _split(name, pixels, augment=True, classes=classes, notes=_notes(described), digest=digest)


def _notes(described: Described) -> list[str]:
    notes = []
    if described.skipped:
        more = f" and {len(described.skipped) - _NAMED} more" if len(described.skipped) > _NAMED else ""
        notes.append(f"left out, as they cannot be read: {'; '.join(described.skipped[:_NAMED])}{more}")
    if described.transparent:
        notes.append(f"{described.transparent} images with an alpha channel, laid on white")
    if described.dtype == "uint16":
        notes.append("some images have more than 256 levels: all are kept in 65536")
    return notes


def _split(
    name: str,
    images: Pixels,
    *,
    augment: bool,
    classes: Iterable[str] = (),
    notes: Iterable[str] = (),
    digest: str | None = None,
) -> Images:
    if len(images) < _HELD_OUT_EVERY:
        raise CommandError(f"--data: expected at least {_HELD_OUT_EVERY} images, got {len(images)}")
    held_out = np.arange(len(images)) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1
    parts = images.some(np.flatnonzero(~held_out)), images.some(np.flatnonzero(held_out))
    return Images(name, *parts, augment, tuple(classes), tuple(notes), digest)


def _faces() -> Tensor:
    faces = optional("skimage.data", "--data faces").lfw_subset()
    # The other hundred images of the subset are patches of background.
    return torch.as_tensor(faces[:_FACES], dtype=torch.float32).unsqueeze(1)


def _digits() -> Tensor:
    digits = optional("sklearn.datasets", "--data digits").load_digits()
    return torch.as_tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
