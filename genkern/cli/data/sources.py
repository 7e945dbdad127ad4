"""What ``--data`` names: a folder or an archive of image files, or an array of images."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from genkern.cli.errors import CommandError, optional

_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_LABELS = ("label", "labels", "y", "target", "targets", "fine_label")
"""The names under which data sets have the classes of their images."""
_IDX_TYPES = {8: np.dtype(np.uint8)}
_EXPECTED = (
    "'faces', 'digits', a folder, zip or tar of images, an array (.npy, .npz), IDX files as MNIST has them, "
    "torchvision:NAME or huggingface:NAME"
)


@dataclass(frozen=True)
class Files:
    """Image files that lie in the folder or the archive `where`."""

    where: Path
    names: Sequence[str]
    opened: Callable[[], AbstractContextManager[Callable[[str], bytes]]]
    """What reads a file by its name, for as long as the files are needed; worker processes may have it, too."""
    stamp: str
    """Changes when a file does."""


def class_of(name: str) -> str:
    """The first folder of a file, or nothing where it lies in none."""
    parts = PurePosixPath(name).parts
    return parts[0] if len(parts) > 1 else ""


@dataclass(frozen=True)
class Arrays:
    """Images in memory, ``[N, C, H, W]`` uint8, uint16 or floating in [0, 1]; the held-out ones behind, if apart."""

    parts: Sequence[np.ndarray]
    labels: Sequence[Any] = ()
    """The labels of each part as they are stored, where they were asked for and are there."""
    names: Sequence[str] = ()
    """The names of labels 0, 1, …, if they have some."""


def is_named(data: str) -> bool:
    """Whether it is the name of a data set that a package has, and no path."""
    package, colon, _ = data.partition(":")
    return bool(colon) and package in ("torchvision", "huggingface")


def find(data: str, labelled: bool = False) -> Files | Arrays:
    """CommandError for what is neither; `labelled`: with the classes of images, where there are some."""
    if is_named(data):
        return _of_package(data, labelled)
    if not data:
        raise CommandError(f"--data: expected {_EXPECTED}, got nothing")
    path = Path(data)
    try:
        if path.is_dir():
            idx = _idx_of_folder(path, labelled)
            return idx if idx is not None else _folder(path)
        name = path.name.lower()
        if name.endswith(_TARS):
            return _tar(path)
        if name.endswith(".zip"):
            return _zip(path)
        if name.endswith((".npy", ".npz")):
            array, labels = _load_array(path)
            return Arrays([_as_images(array, data)], labels)
        if "idx3" in name or "idx4" in name:
            return _of_idx([path], labelled)
        path.stat()
    except (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or (str(error) or type(error).__name__).splitlines()[0]
        raise CommandError(f"--data: expected {_EXPECTED}, got {data!r} ({reason})") from error
    raise CommandError(f"--data: expected {_EXPECTED}, got {data!r}")


def _is_image(name: str) -> bool:
    """Hidden files and folders are none, such as those that macOS puts beside each file."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and PurePosixPath(name).suffix.lower() in _SUFFIXES


def _files(
    where: Path, found: dict[str, str], opened: Callable[[], AbstractContextManager[Callable[[str], bytes]]]
) -> Files:
    """Files by name, each with what changes when it does."""
    if not found:
        raise CommandError(f"--data: no images ({', '.join(sorted(_SUFFIXES))}) in {str(where)!r}")
    names = sorted(found)
    lines = [str(where.resolve()), *(f"{name} {found[name]}" for name in names)]
    stamp = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return Files(where, names, opened, stamp)


def _folder(folder: Path) -> Files:
    found, seen = {}, set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # by another link
            folders.clear()
            continue
        seen.add(real)
        folders.sort(key=lambda name: (os.path.islink(os.path.join(parent, name)), name))
        for path in (Path(parent, name) for name in files):
            name = path.relative_to(folder).as_posix()
            if _is_image(name) and path.is_file():
                stat = path.stat()
                found[name] = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
    return _files(folder, found, lambda: nullcontext(_FolderReader(folder)))


# Readers are classes, as worker processes that do not fork are sent them by pickle.


@dataclass(frozen=True)
class _FolderReader:
    folder: Path

    def __call__(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


class _ZipReader:
    """The archive is opened once in each process: its directory is long."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._opened: tuple[int, zipfile.ZipFile] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_archive": self._archive, "_opened": None}

    def __call__(self, name: str) -> bytes:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self._archive)
        try:
            return self._opened[1].read(name)
        except (zipfile.BadZipFile, RuntimeError, zlib.error, EOFError) as error:
            raise OSError(str(error)) from error


@dataclass(frozen=True)
class _TarReader:
    archive: Path
    places: dict[str, tuple[int, int]]

    def __call__(self, name: str) -> bytes:
        first, size = self.places[name]
        with self.archive.open("rb") as file:
            file.seek(first)
            return file.read(size)


def _zip(path: Path) -> Files:
    with zipfile.ZipFile(path) as file:
        found = {i.filename: f"{i.CRC}" for i in file.infolist() if _is_image(i.filename) and not i.is_dir()}
    return _files(path, found, lambda: nullcontext(_ZipReader(path)))


def _tar(path: Path) -> Files:
    stat = path.stat()
    stamp = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
    with _unpacked(path) as stream, tarfile.open(fileobj=stream, mode="r:") as file:
        members = list(file)
        everywhere = {member.name: (member.offset_data, member.size) for member in members if member.isfile()}
        for member in members:
            if member.islnk() and member.linkname in everywhere:
                everywhere[member.name] = everywhere[member.linkname]
        places = {name: place for name, place in everywhere.items() if _is_image(name)}

    @contextmanager
    def opened() -> Iterator[_TarReader]:
        if path.suffix.lower() == ".tar":
            yield _TarReader(path, places)
            return
        with _unpacked(path) as stream, tempfile.NamedTemporaryFile(suffix=".tar") as plain:
            shutil.copyfileobj(stream, plain)  # in a packed one no place can be read by itself
            plain.flush()
            yield _TarReader(Path(plain.name), places)

    return _files(path, dict.fromkeys(places, stamp), opened)


def _unpacked(path: Path) -> IO[bytes]:
    """The archive as a stream of what it was packed from."""
    openers: dict[str, Callable[..., Any]] = {".tar": open, ".bz2": bz2.open, ".xz": lzma.open}
    return openers.get(path.suffix.lower(), gzip.open)(path, "rb")


def _load_array(path: Path) -> tuple[np.ndarray, list[np.ndarray]]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded, []
    arrays = [name for name in loaded.files if loaded[name].ndim >= 3]
    if len(arrays) != 1:
        raise ValueError(f"expected one array of images in it, got {', '.join(loaded.files) or 'none'}")
    return loaded[arrays[0]], [loaded[name] for name in _LABELS if name in loaded.files][:1]


def _as_images(array: np.ndarray, data: str) -> np.ndarray:
    """``[N, H, W]``, ``[N, H, W, C]`` or ``[N, C, H, W]`` as the last, in levels of which the largest is white."""
    shape, array = array.shape, array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise CommandError(f"--data: expected images [N, H, W], [N, H, W, C] or [N, C, H, W], got {shape} in {data!r}")
    if array.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        return np.ascontiguousarray(array, np.float32)
    found = f"{array.dtype} from {array.min():g} to {array.max():g}" if array.dtype.kind in "iuf" else str(array.dtype)
    raise CommandError(f"--data: expected uint8, uint16, bool or floating numbers from 0 to 1, got {found} in {data!r}")


def _idx_of_folder(folder: Path, labelled: bool) -> Arrays | None:
    """The four files of MNIST and its kin, as they are distributed."""
    parts = [sorted(folder.glob(f"{prefix}-images*idx3-ubyte*")) for prefix in ("train", "t10k")]
    found = [paths[0] for paths in ([path for path in part if path.is_file()] for part in parts) if paths]
    return _of_idx(found, labelled) if found and found[0].name.startswith("train") else None


def _of_idx(paths: Sequence[Path], labelled: bool) -> Arrays:
    """Images of files, training ones first; the labels of each lie in a file beside it."""
    labels = []
    for path in paths if labelled else ():
        name = path.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
        beside = (path.with_name(name), path.with_name(f"{name}.gz"), path.with_name(name.removesuffix(".gz")))
        labels += [_idx(found) for found in beside if found.is_file() and found != path][:1]
    return Arrays([_as_images(_idx(path), str(path)) for path in paths], labels)


def _idx(path: Path) -> np.ndarray:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise ValueError("not an IDX file of bytes")
    ndim = content[3]
    shape = np.frombuffer(content, ">i4", ndim, 4)
    if (shape < 1).any() or len(content) != 4 + 4 * ndim + int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"an IDX file of {len(content)} bytes for the shape {tuple(shape.tolist())}")
    return np.frombuffer(content, _IDX_TYPES[content[2]], int(np.prod(shape)), 4 + 4 * ndim).reshape(shape)


def _of_package(data: str, labelled: bool) -> Arrays:
    package, _, name = data.partition(":")
    try:
        return _torchvision(name, labelled) if package == "torchvision" else _huggingface(name, labelled)
    except CommandError:
        raise
    except Exception as error:  # of code and of servers that are not ours
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CommandError(f"--data: cannot load {data!r}: {reason}") from error


def _torchvision(name: str, labelled: bool) -> Arrays:
    datasets = optional("torchvision.datasets", f"--data torchvision:{name}")
    if not hasattr(datasets, name):
        raise CommandError(f"--data: expected a dataset of torchvision, got {name!r}")
    root = Path.home() / ".cache" / "genkern" / "torchvision"
    parts = [getattr(datasets, name)(str(root), train=train, download=True) for train in (True, False)]
    return _of_pil(parts, 0, 1 if labelled else None, getattr(parts[0], "classes", ()), name)


def _huggingface(name: str, labelled: bool) -> Arrays:
    parts = optional("datasets", f"--data huggingface:{name}").load_dataset(name)
    train = parts["train"]
    column = next((key for key in ("image", "img") if key in train.column_names), None)
    if column is None:
        raise CommandError(
            f"--data: expected a column 'image' or 'img' in {name!r}, got {', '.join(train.column_names)}"
        )
    label = next((key for key in _LABELS if labelled and key in train.column_names), None)
    names = getattr(getattr(train, "features", {}).get(label), "names", ())
    return _of_pil([parts[key] for key in ("train", "test") if key in parts], column, label, names, name)


def _of_pil(parts: Sequence[Any], image: Any, label: Any, names: Sequence[str], name: str) -> Arrays:
    """Parts whose items have an image and a label under these keys."""
    images, labels = [], []
    for part in parts:
        items = [
            (np.asarray(item[image]), None if label is None else item[label])
            for item in map(part.__getitem__, range(len(part)))
        ]
        if len({pixels.shape for pixels, _ in items}) != 1:
            raise CommandError(f"--data: expected images of one size in {name!r}; save them in a folder and give that")
        images.append(_as_images(np.stack([pixels for pixels, _ in items]), name))
        labels.append([found for _, found in items])
    return Arrays(images, () if label is None else labels, names)
