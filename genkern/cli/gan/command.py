"""``genkern train gan``, and the demo and the evaluation of a GAN."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from genkern.cli import options
from genkern.cli.gan.pictures import PICTURES
from genkern.cli.gan.settings import CLASSIFIERS, LOSSES, PENALTIES, GANSettings
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.job import RunOptions, console, figures_of, run, settings_for, write_figures
from genkern.cli.quality import quality, report_quality

RECIPES = {
    "faces": (GANSettings(penalty_weight=0.02), 1500),
    "digits": (GANSettings(data="digits", latent_dim=16, width=32, batch_size=32, penalty_weight=0.03), 2500),
    "folder": (GANSettings(data="folder", latent_dim=64, width=32, penalty_weight=0.1), 10_000),
}


_SQUARED_NORMS = ("r1", "r2")
"""The penalties that the recipes' weights are for; the others have their papers' weights."""


def train_gan(
    data: options.Data = "faces",
    out: options.Out = Path("genkern-gan"),
    loss: Annotated[str | None, typer.Option(help=f"{', '.join(LOSSES)}.")] = None,
    penalty: Annotated[
        str | None, typer.Option(help=f"Penalty of the discriminator's slope: {', '.join(PENALTIES)}.")
    ] = None,
    penalty_weight: Annotated[float | None, typer.Option(help="Its factor.")] = None,
    penalty_interval: Annotated[
        int | None, typer.Option(help="Discriminator steps to one with the penalty, which then counts as often.")
    ] = None,
    n_critic: Annotated[int | None, typer.Option(help="Discriminator steps to one of the generator.")] = None,
    latent_dim: options.LatentDim = None,
    width: Annotated[int | None, typer.Option(help="Channels at full resolution.")] = None,
    minibatch_stddev: Annotated[
        bool | None, typer.Option(help="Whether the discriminator sees how much the images of a group differ.")
    ] = None,
    conditional: options.Conditional = False,
    classifier: Annotated[
        str | None,
        typer.Option(help=f"How the discriminator of a conditional GAN knows classes: {', '.join(CLASSIFIERS)}."),
    ] = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    rate_warmup: options.RateWarmup = None,
    cosine: options.Cosine = None,
    clip: options.Clip = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the averaged generator.")] = None,
    precision: options.Precision = None,
    interval: options.Interval = None,
    steps: options.Steps = None,
    seed: options.Seed = None,
    size: options.Size = None,
    bad_images: options.BadImages = None,
    cache: options.Cache = None,
    device: options.Device = "auto",
    compile: options.Compile = False,
    processes: options.Processes = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    resume: options.Resume = "auto",
    log: options.Log = None,
) -> None:
    """Train a GAN; a run that was stopped goes on from its checkpoint to the numbers it would have reached."""
    given: dict[str, Any] = {"loss": loss, "penalty": penalty, "penalty_weight": penalty_weight}
    given |= {"penalty_interval": penalty_interval, "n_critic": n_critic, "latent_dim": latent_dim, "width": width}
    given |= {"minibatch_stddev": minibatch_stddev, "batch_size": batch_size, "learning_rate": learning_rate}
    given |= {"ema": ema, "interval": interval, "seed": seed, "size": size, "bad_images": bad_images}
    given |= {"rate_warmup": rate_warmup, "cosine": cosine, "clip": clip, "precision": precision}
    given |= {"conditional": conditional, "classifier": classifier}
    settings, steps = _settings(data, steps, **given)
    how = RunOptions(out, threads, resume, cache, "last", log, device, compile, processes, workers)
    run(GANTrainer, settings, steps, how, measure=_measure, report=_report, pictures={})


def demo_gan(data: str, steps: int | None, how: RunOptions, **options: Any) -> None:
    """Train a GAN on real images, compare its samples with images it never saw, and draw them."""
    settings, steps = _settings(data, steps, **options)
    run(GANTrainer, settings, steps, how, measure=_measure, report=_report, pictures=PICTURES)


def evaluate_gan(trainer: GANTrainer, path: Path, json_file: Path | None) -> None:
    """The quality of a trained GAN's samples as a table, and a file of it."""
    out, figures = console(), _measure(trainer)
    out.print(f"{path}, step {trainer.step}")
    _report(figures, out)
    write_figures(json_file, figures_of(trainer, path, figures), out)


def _settings(data: str, steps: int | None, **given: Any) -> tuple[GANSettings, int]:
    settings, length = settings_for(RECIPES, data, steps, **given)
    if settings.penalty not in _SQUARED_NORMS and given.get("penalty_weight") is None:
        settings = replace(settings, penalty_weight=None)
    return settings, length


def _measure(trainer: GANTrainer) -> dict[str, Any]:
    return {"quality": quality(trainer.images, lambda num: trainer.samples(num, "quality"))}


def _report(figures: dict[str, Any], out: Console) -> None:
    report_quality(figures["quality"], out)
