"""The history of a run as comma-separated values or TensorBoard's, and samples, written while a model trains."""

import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from genkern.cli.checkpoint import replace_file
from genkern.cli.drawing import save_mosaic
from genkern.cli.errors import CommandError, optional
from genkern.cli.session import Look, prepare_folder
from genkern.cli.trainer import Trainer

LOGS = ("csv", "tensorboard")
_SIDE = 8


def looks(kind: str | None, out: Path) -> list[Look]:
    """The looks of a run: samples, and before them the history if a kind of log is asked for."""
    if kind not in (None, *LOGS):
        raise CommandError(f"--log: expected one of {', '.join(LOGS)}, got {kind!r}")
    samples: Look = partial(_sampled, out / "progress")
    if kind is None:
        return [samples]
    write = _tensorboard(out) if kind == "tensorboard" else partial(_write_csv, out / "log.csv")
    return [lambda trainer: partial(write, trainer), samples]


def _sampled(folder: Path, trainer: Trainer[Any]) -> Callable[[], None]:
    """A picture of the same draws of z at every interval, by its step."""
    path, grid = folder / f"{trainer.step:07}.png", trainer.sample_grid(_SIDE, _SIDE)

    def write() -> None:
        prepare_folder(folder)
        save_mosaic(path, grid, _SIDE)

    return write


def _write_csv(path: Path, trainer: Trainer[Any]) -> None:
    """The whole history each time, so that a resumed run leaves the table of one that was not stopped."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(trainer.columns())
    table.writerows(trainer.history)
    replace_file(path, buffer.getvalue().encode())


def _tensorboard(out: Path) -> Callable[[Trainer[Any]], None]:
    optional("tensorboard", "--log tensorboard")
    writers: list[Any] = []

    def write(trainer: Trainer[Any]) -> None:
        if not writers:  # what a stopped run has logged beyond its checkpoint is hidden by purge_step
            kind = optional("torch.utils.tensorboard", "--log tensorboard").SummaryWriter
            writers.append(kind(str(out / "tensorboard"), purge_step=trainer.step))
        record = trainer.records()[-1]
        for name, value in record.items():
            if name != "step":
                writers[0].add_scalar(name, value, int(record["step"]))
        writers[0].flush()

    return write
