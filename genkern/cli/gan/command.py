"""``genkern train gan``, and the demo and the evaluation of a GAN."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from genkern.cli.gan.pictures import PICTURES
from genkern.cli.gan.settings import GANSettings
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.job import console, figures_of, run, settings_for, write_figures
from genkern.cli.options import RunOptions, command
from genkern.cli.quality import quality, report_quality

RECIPES = {
    "faces": (GANSettings(penalty_weight=0.02), 1500),
    "digits": (GANSettings(data="digits", latent_dim=16, width=32, batch_size=32, penalty_weight=0.03), 2500),
    "folder": (GANSettings(data="folder", latent_dim=64, width=32, penalty_weight=0.1), 10_000),
}

_SQUARED_NORMS = ("r1", "r2")
"""The penalties that the recipes' weights are for; the others have their papers' weights."""


@command(GANSettings, without=("keep", "shard"), data="faces", out=Path("genkern-gan"))
def train_gan(how: RunOptions, given: dict[str, Any]) -> None:
    """Train a GAN; a run that was stopped goes on from its checkpoint to the numbers it would have reached."""
    run(GANTrainer, *_settings(how, given), how, measure=_measure, report=_report, pictures={})


def demo_gan(how: RunOptions, given: dict[str, Any]) -> None:
    """Train a GAN on real images, compare its samples with images it never saw, and draw them."""
    run(GANTrainer, *_settings(how, given), how, measure=_measure, report=_report, pictures=PICTURES)


def evaluate_gan(trainer: GANTrainer, path: Path, json_file: Path | None) -> None:
    """The quality of a trained GAN's samples as a table, and a file of it."""
    out, figures = console(), _measure(trainer)
    out.print(f"{path}, step {trainer.step}")
    _report(figures, out)
    write_figures(json_file, figures_of(trainer, path, figures), out)


def _settings(how: RunOptions, given: dict[str, Any]) -> tuple[GANSettings, int]:
    settings, length = settings_for(RECIPES, how.steps, **given)
    if settings.penalty not in _SQUARED_NORMS and given.get("penalty_weight") is None:
        settings = replace(settings, penalty_weight=None)
    return settings, length


def _measure(trainer: GANTrainer) -> dict[str, Any]:
    return {"quality": quality(trainer.images, lambda num: trainer.samples(num, "quality"))}


def _report(figures: dict[str, Any], out: Console) -> None:
    report_quality(figures["quality"], out)
