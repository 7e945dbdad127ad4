"""Decoded images in one file, made once, so that a run needs memory for a batch and not for the set.

The file is written beside and renamed; its description, renamed last, says that it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from genkern.cli.data.decode import Kind, Unreadable, decode, kind_of
from genkern.cli.data.pixels import Pixels
from genkern.cli.data.sources import Files, class_of
from genkern.cli.errors import CommandError

_FORMAT = 2
_FEW = 256
"""Files that one process decodes before others would have started."""
_MOST_WORKERS = 8


@dataclass(frozen=True)
class Described:
    """What lies in the file of decoded images, and what was met on the way."""

    shape: tuple[int, int, int]
    dtype: str
    count: int
    digest: str
    classes: list[str]
    labels: list[int]
    """The class of each image, a place in `classes`."""
    skipped: list[str]
    transparent: int


def decoded(files: Files, size: int, folder: Path | None, bad: str, console: Console) -> tuple[Pixels, Described]:
    """The images of the files, from the cache if it has them."""
    path = _folder_for(files.where, folder) / f"{files.stamp}-{size}-{bad}.pixels"
    described = _read(path)
    if described is None:
        described = _write(files, size, path, bad, console)
    return Pixels.in_file(path, described.shape, described.dtype, described.count), described


def _folder_for(where: Path, given: Path | None) -> Path:
    """The folder that is given, one beside the data, or the user's, the first that can be written into."""
    beside = where / ".genkern-cache" if where.is_dir() else where.with_name(f".{where.name}.genkern-cache")
    candidates = [given] if given is not None else [beside, Path.home() / ".cache" / "genkern"]
    for folder in candidates:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    raise CommandError(f"--cache: cannot write into {' or '.join(repr(str(folder)) for folder in candidates)}")


def _description(path: Path) -> Path:
    return path.with_suffix(".json")


def _read(path: Path) -> Described | None:
    try:
        found = json.loads(_description(path).read_text(encoding="utf-8"))
        if found.pop("format") != _FORMAT:
            return None
        described = Described(**{**found, "shape": tuple(found["shape"])})
        size = int(np.prod(described.shape)) * np.dtype(described.dtype).itemsize * described.count
        return described if path.stat().st_size == size and len(described.labels) == described.count else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(files: Files, size: int, path: Path, bad: str, console: Console) -> Described:
    bars = Progress(console=console, transient=True, disable=not console.is_terminal)
    with files.opened() as read, bars as bar:
        found = _mapped(_Each(files.names, read, kind_of))
        kinds = list(bar.track(found, total=len(files.names), description="images found"))
        _stop_at(zip(files.names, kinds, strict=True), bad)
        kind = reduce(or_, (each for each in kinds if isinstance(each, Kind)), Kind())
        beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")  # of each run its own
        digest, kept, skipped = hashlib.sha256(), [], []
        try:
            with beside.open("wb") as file:
                squares = _mapped(_Each(files.names, read, partial(decode, size=size, kind=kind)))
                squares = bar.track(squares, total=len(kinds), description="decoded")
                for name, square in zip(files.names, squares, strict=True):
                    _stop_at([(name, square)], bad)
                    if isinstance(square, str):
                        skipped.append(f"{name!r}: {square}")
                        continue
                    kept.append(name)
                    digest.update(square.tobytes())
                    file.write(square.tobytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError as error:
            raise CommandError(f"--cache: cannot write {str(path)!r} ({error.strerror or error})") from error
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()
    classes = sorted({class_of(name) for name in kept})
    described = Described(
        shape=(kind.channels, size, size),
        dtype=kind.dtype,
        count=len(kept),
        digest=digest.hexdigest(),
        classes=classes,
        labels=np.searchsorted(classes, [class_of(name) for name in kept]).tolist(),
        skipped=skipped,
        transparent=sum(isinstance(each, Kind) and each.transparent for each in kinds),
    )
    described_beside = beside.with_suffix(".json")
    described_beside.write_text(json.dumps({"format": _FORMAT, **asdict(described)}) + "\n", encoding="utf-8")
    os.replace(described_beside, _description(path))
    return described


def _stop_at(found: Iterable[tuple[str, object]], bad: str) -> None:
    """Raise CommandError that names the first file with a reason why it cannot be read, if such a file is to stop."""
    for name, reason in found:
        if isinstance(reason, str) and bad == "stop":
            raise CommandError(f"--data: cannot read the image {name!r}: {reason}; --bad-images skip leaves it out")


@dataclass(frozen=True)
class _Each:
    """A data set: `make` of the content of each file, or a str that says why the file is unreadable."""

    names: Sequence[str]
    read: Callable[[str], bytes]
    make: Callable[[bytes], Any]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, at: int) -> Any:
        try:
            return self.make(self.read(self.names[at]))
        except (Unreadable, OSError) as error:
            return str(error)


def _as_it_is(item: Any) -> Any:
    return item


def _mapped(items: _Each) -> Iterable[Any]:
    """Every item in its order, made by as many processes as there are cores."""
    if len(items) < _FEW:
        return (items[at] for at in range(len(items)))
    from torch.utils.data import DataLoader  # which takes a moment

    workers = min(_MOST_WORKERS, os.cpu_count() or 1)
    dataset: Any = items  # anything that is indexed and has a length
    return iter(DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=_as_it_is))
