"""A run as a command asks for it: data, folder, length, processes; what is printed and written about it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console

from genkern.cli.checkpoint import replace_file
from genkern.cli.data import load_images
from genkern.cli.errors import CommandError
from genkern.cli.parallel import Ranks, joined
from genkern.cli.session import fit, prepare_folder
from genkern.cli.settings import RunSettings
from genkern.cli.trainer import Trainer

__all__ = ["Job", "console", "figures_of", "set_threads", "settings_for", "write_figures"]

SettingsT = TypeVar("SettingsT", bound=RunSettings)
TrainerT = TypeVar("TrainerT", bound=Trainer[Any])
Recipes = Mapping[str, tuple[SettingsT, int]]
"""For faces, digits and a folder, the settings and the number of steps that suit them."""


def console(quiet: bool = False) -> Console:
    """Wide enough for a table where nobody's window is."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, quiet=quiet)


def settings_for(recipes: Recipes[SettingsT], data: str, steps: int | None, **options: Any) -> tuple[SettingsT, int]:
    """Those of the recipe for the data, with the options that are given in place, and the number of steps."""
    settings, usual = recipes.get(data, recipes["folder"])
    if steps is not None and steps < 1:
        raise CommandError(f"--steps: expected at least 1, got {steps}")
    settings = settings.changed(data=data if data in recipes else os.path.abspath(data), **options)
    return settings, usual if steps is None else steps


def set_threads(threads: int | None) -> None:
    if threads is None:
        return
    if threads < 1:
        raise CommandError(f"--threads: expected at least 1, got {threads}")
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Job:
    """What is said of a run besides its settings: none of it changes a number."""

    out: Path
    steps: int
    threads: int | None
    resume: str
    console: Console
    ranks: Ranks

    @classmethod
    @contextmanager
    def started(cls, out: Path, steps: int, threads: int | None, resume: str) -> Iterator[Job]:
        with joined() as ranks:
            yield cls(out, steps, threads, resume, console(quiet=ranks.rank > 0), ranks)

    @property
    def speaks(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.ranks.rank == 0

    def train(self, trainer_type: type[TrainerT], settings: RunSettings) -> TrainerT:
        """From the start or the checkpoint in the folder to the last step."""
        set_threads(self.threads)
        images = load_images(settings.data, settings.size)
        if self.speaks:
            prepare_folder(self.out)
        self.console.print(
            f"{images.name}: {len(images.train)} images of {'×'.join(map(str, images.shape))} to train on"
            f"{', mirrored and jittered' if images.augment else ''}; {len(images.held_out)} held out"
        )
        trainer = trainer_type(settings, images, self.ranks)
        fit(trainer, self.out, self.steps, resume=self.resume, console=self.console)
        return trainer

    def write_metrics(self, trainer: Trainer[Any], **figures: Any) -> dict[str, Any]:
        """metrics.json: what was run, its history, and the figures given."""
        images = trainer.images
        metrics = {
            "settings": trainer.settings.to_dict(),
            "steps": trainer.step,
            "data": {"name": images.name, "train": len(images.train), "fingerprint": images.fingerprint()},
            "history": trainer.records(),
            **figures,
        }
        replace_file(self.out / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())
        return metrics


def figures_of(trainer: Trainer[Any], checkpoint: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """Those of a checkpoint, and what it is a checkpoint of."""
    return {
        "checkpoint": str(checkpoint),
        "settings": trainer.settings.to_dict(),
        "steps": trainer.step,
        "data": {"name": trainer.images.name, "fingerprint": trainer.images.fingerprint()},
        **figures,
    }


def write_figures(path: Path | None, figures: dict[str, Any], console: Console) -> None:
    """As JSON, if a file is asked for."""
    if path is not None:
        replace_file(path, (json.dumps(figures, indent=2) + "\n").encode())
        console.print(f"wrote {path}")
