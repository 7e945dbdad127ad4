"""Images for the commands: faces from scikit-image, digits from scikit-learn, or the user's (`sources`)."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

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
    """The folders of the first level, if the images lie in some; of labelled images the names of their classes."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about files that were left out or changed."""
    digest: str | None = None
    """The fingerprint, where it is known already."""

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.train.image_shape

    def on(self, device: torch.device) -> "Images":
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
            if (labels := part.labels()) is not None:
                digest.update(labels.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]


def load_images(
    data: str,
    size: int,
    *,
    labelled: bool = False,
    bad: str = "stop",
    cache: Path | None = None,
    console: Console | None = None,
) -> Images:
    """``"faces"``, ``"digits"``, or what `sources.find` finds; image files are cropped to squares of `size` pixels.

    Arrays keep their size. Files are decoded once, into `cache` or a folder beside them. Only `labelled` images have
    labels; CommandError where there are no classes.
    """
    named = {"faces": _faces, "digits": _digits}
    source = named[data]() if data in named else find(data, labelled)
    name = data if is_named(data) else Path(data).resolve().name
    if isinstance(source, Arrays):
        classes, of_parts = _classes(source, data) if labelled else ((), [None, None])
        train, *apart = (Pixels.of(part, labels) for part, labels in zip(source.parts, of_parts, strict=False))
        if not apart:
            return _split(name, train, augment=data == "faces", classes=classes)
        if apart[0].image_shape != train.image_shape:
            raise CommandError(f"--data: expected held-out images of shape {train.image_shape} in {data!r}")
        return Images(name, train, apart[0], augment=False, classes=classes)
    pixels, described = decoded(source, size, cache, bad, console or Console(quiet=True))
    classes = tuple(described.classes) if len(described.classes) > 1 else ()
    told = f"{pixels.shape} {described.dtype} {described.digest}"
    if labelled:
        if "" in described.classes or len(described.classes) < 2:
            raise _without_classes(data, "images in no folder of the first level" if "" in described.classes else "one")
        told, pixels = f"{told} {described.labels}", pixels.of_classes(np.array(described.labels))
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    return _split(name, pixels, augment=True, classes=classes, notes=_notes(described), digest=digest)


def _classes(source: Arrays, data: str) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """The names of the classes of images, and of each image of each part its place among them."""
    labels = [np.asarray(part) for part in source.labels]
    if [part.shape for part in labels] != [(len(part),) for part in source.parts]:
        raise _without_classes(data, "no label of each image")
    stored = np.concatenate(labels)
    found, places = np.unique(stored, return_inverse=True)
    if stored.dtype.kind not in "biuU" or len(found) < 2:
        raise _without_classes(data, f"labels {stored.dtype}, {len(found)} of them different")
    classes = tuple(source.names[at] if at in range(len(source.names)) else str(at) for at in found.tolist())
    return classes, np.split(places, [len(labels[0])])


def _without_classes(data: str, got: str) -> CommandError:
    expected = "two or more classes: folders of the first level, or labels (docs/data.md)"
    return CommandError(f"--conditional: expected images of {expected}, got {got} in {data!r}")


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


def _faces() -> Arrays:
    faces = optional("skimage.data", "--data faces").lfw_subset()
    # The other hundred images of the subset are patches of background.
    return Arrays([np.asarray(faces[:_FACES, None], np.float32)])


def _digits() -> Arrays:
    digits = optional("sklearn.datasets", "--data digits").load_digits()
    return Arrays([np.asarray(digits.images[:, None], np.float32) / 16], [digits.target])
