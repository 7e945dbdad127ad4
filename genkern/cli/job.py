"""A run as a command asks for it: data, folder, length, processes; what is printed and written about it."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console

from genkern.cli.checkpoint import replace_file
from genkern.cli.data import is_named
from genkern.cli.engine import started
from genkern.cli.errors import CommandError
from genkern.cli.lock import alone_in
from genkern.cli.log import looks
from genkern.cli.options import RunOptions
from genkern.cli.session import BEST, CHECKPOINT, TrainerT, fit, kept, prepare_folder
from genkern.cli.settings import RunSettings
from genkern.cli.trainer import Trainer

SettingsT = TypeVar("SettingsT", bound=RunSettings)
Recipes = Mapping[str, tuple[SettingsT, int]]
"""The settings and the number of steps that suit faces, digits and a folder."""


def console(quiet: bool = False) -> Console:
    """Wide enough for a table where nobody's window is."""
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False, quiet=quiet)


def settings_for(recipes: Recipes[SettingsT], steps: int | None, data: str, **given: Any) -> tuple[SettingsT, int]:
    """The settings of the recipe for the data, with the given ones in place, and the number of steps."""
    settings, usual = recipes.get(data, recipes["folder"])
    if steps is not None and steps < 1:
        raise CommandError(f"--steps: expected at least 1, got {steps}")
    settings = settings.changed(data=data if data in recipes or is_named(data) else os.path.abspath(data), **given)
    return settings, usual if steps is None else steps


def set_threads(threads: int | None) -> None:
    if threads is None:
        return
    if threads < 1:
        raise CommandError(f"--threads: expected at least 1, got {threads}")
    torch.set_num_threads(threads)


def run(
    trainer_type: type[TrainerT],
    settings: RunSettings,
    steps: int,
    options: RunOptions,
    *,
    measure: Callable[[TrainerT], dict[str, Any]],
    report: Callable[[dict[str, Any], Console], None],
    pictures: Mapping[str, Callable[[TrainerT, Path], None]],
) -> None:
    """Train from the start, or from the checkpoint in the folder, to the last step.

    The first process then writes metrics.json, of what was run, its history and its figures, draws the pictures by
    their names, and reports.
    """
    out, keep = options.out, options.keep
    with ExitStack() as held:
        engine = started(
            options.device,
            settings.precision,
            processes=options.processes,
            compiles=options.compile,
            workers=options.workers,
            shards=options.shard,
        )
        first = engine.is_first
        tell = console(quiet=not first)
        set_threads(options.threads)
        images = engine.together(lambda: settings.load(cache=options.cache, console=tell))
        engine.together(lambda: _enter(out, held) if first else None)
        tell.print(
            f"{images.name}: {len(images.train)} images of {'×'.join(map(str, images.shape))} to train on"
            f"{', mirrored and jittered' if images.augment else ''}; {len(images.held_out)} held out"
            f"{f'; {len(images.classes)} classes' if images.classes else ''}"
            f"{', which the model is told' if settings.conditional else ''}"
        )
        for note in images.notes:
            tell.print(note)
        precision = "" if settings.precision == "32" else f", networks in {settings.precision}"
        tell.print(f"on {engine.described}{precision}")
        trainer = trainer_type(settings, images, engine)
        try:
            fit(trainer, out, steps, resume=options.resume, keep=keep, watch=looks(options.log, out), console=tell)
        except Exception as error:
            if options.compile and type(error).__module__.startswith("torch._"):
                raise CommandError(f"--compile: {str(error).splitlines()[0]}") from error
            raise
        engine.close()
        if not first:
            return
        at_best = kept(trainer, out, keep)
        if at_best.step != trainer.step:
            tell.print(f"best at step {at_best.step}: what follows is of the model there ({BEST})")
        failed: dict[str, str] = {}
        figures = _tried("figures", lambda: measure(at_best), failed) or {}
        for name, draw in pictures.items():
            _tried(name, lambda draw=draw, path=out / name: draw(at_best, path), failed)  # type: ignore[misc]
        metrics = {
            "settings": settings.to_dict(),
            "steps": trainer.step,
            "kept_step": at_best.step,
            "data": {"name": images.name, "train": len(images.train), "fingerprint": images.fingerprint},
            "history": trainer.records(),
            **figures,
            **({"failed": failed} if failed else {}),
        }
        _write_json(out / "metrics.json", metrics)
        if figures:
            report(figures, tell)
        *others, last = CHECKPOINT, "metrics.json", *(name for name in pictures if name not in failed)
        tell.print(f"wrote {', '.join(others)} and {last} into {out}")
        if failed:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise CommandError(f"the model is trained and saved, but not all could be made of it: {reasons}")


def _enter(out: Path, held: ExitStack) -> None:
    """Make the folder of the run, for this run alone."""
    prepare_folder(out)
    held.enter_context(alone_in(out))


def _tried(name: str, make: Callable[[], Any], failed: dict[str, str]) -> Any:
    """What `make` gives; where it fails None, and the reason stands in `failed`, so that nothing else is lost."""
    try:
        return make()
    except Exception as error:
        failed[name] = f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
        return None


def figures_of(trainer: Trainer[Any], checkpoint: Path, figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of a checkpoint, and what it is a checkpoint of."""
    return {
        "checkpoint": str(checkpoint),
        "settings": trainer.settings.to_dict(),
        "steps": trainer.step,
        "data": {"name": trainer.images.name, "fingerprint": trainer.images.fingerprint},
        **figures,
    }


def write_figures(path: Path | None, figures: dict[str, Any], console: Console) -> None:
    if path is not None:
        _write_json(path, figures)
        console.print(f"wrote {path}")


def _write_json(path: Path, figures: dict[str, Any]) -> None:
    replace_file(path, (json.dumps(figures, indent=2) + "\n").encode())
