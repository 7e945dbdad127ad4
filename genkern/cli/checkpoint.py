"""Checkpoints: one safetensors file, replaced in one step, so that a reader finds the old one or the new one."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from genkern.cli.errors import CommandError, optional

_FORMAT = "genkern.checkpoint/1"


def save_checkpoint(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write the checkpoint beside `path` and rename it over; whatever fails leaves the one that is there intact."""
    save = optional("safetensors.torch", "a checkpoint").save
    # One entry: safetensors writes several in no fixed order, and equal runs are to write equal files.
    header = {"genkern": json.dumps({"format": _FORMAT, **metadata}, sort_keys=True)}
    replace_file(path, save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, metadata=header))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and metadata that `save_checkpoint` wrote; CommandError for any other file."""
    safetensors = optional("safetensors", "a checkpoint")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("genkern", "{}"))
            if metadata.get("format") != _FORMAT:
                raise CommandError(f"{path}: expected a checkpoint written by genkern, got another safetensors file")
            # Copies: Windows replaces no file that is mapped.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CommandError(f"{path}: not a readable checkpoint ({str(error).splitlines()[0]}); move it away") from error
    return tensors, metadata


def replace_file(path: Path, content: bytes) -> None:
    """Atomic and durable: written beside, flushed to the disk, renamed."""
    # One fixed name: what a killed run leaves behind is overwritten by the next, and does not pile up.
    beside = path.with_name(f"{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise CommandError(f"{path}: cannot be written ({error.strerror or error}); nothing was overwritten") from error


def _sync_folder(folder: Path) -> None:
    """The rename itself must reach the disk, too."""
    # Windows opens no folder, and some network file systems sync none; there is nothing more to do there.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
