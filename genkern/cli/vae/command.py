"""``genkern train vae``, and the demo and the evaluation of a VAE."""

from pathlib import Path
from typing import Any

from rich.progress import Progress

from genkern.cli.job import console, figures_of, run, settings_for, write_figures
from genkern.cli.options import RunOptions, command
from genkern.cli.quality import quality
from genkern.cli.vae.evaluation import evaluate
from genkern.cli.vae.examination import examine
from genkern.cli.vae.pictures import PICTURES
from genkern.cli.vae.report import report, report_examination
from genkern.cli.vae.settings import VAESettings
from genkern.cli.vae.timing import compare_step_times
from genkern.cli.vae.trainer import VAETrainer
from genkern.nn import VAE

RECIPES = {
    "faces": (VAESettings(), 1000),
    "digits": (VAESettings(data="digits", model="mlp", latent_dim=8), 2000),
    "folder": (VAESettings(data="folder", model="conv", latent_dim=32), 3000),
}

_TC_BETA = 6.0  # Chen et al. 2018
_HIERARCHICAL = {"likelihood": "discretized_logistic", "latent_dim": 16, "learning_rate": 2e-3}
"""The defaults of a hierarchy, whatever the data."""


@command(VAESettings, data="faces", out=Path("genkern-vae"), keep="best")
def train_vae(how: RunOptions, given: dict[str, Any]) -> None:
    """Train a VAE; a run that was stopped goes on from its checkpoint to the numbers it would have reached."""
    run(VAETrainer, *_settings(how, given), how, measure=_held_out, report=report, pictures={})


def demo_vae(how: RunOptions, given: dict[str, Any]) -> None:
    """Train a VAE on real images, evaluate it on images it never saw, and draw what it learned."""
    run(VAETrainer, *_settings(how, given), how, measure=_demo_figures, report=report, pictures=PICTURES)


def _held_out(trainer: VAETrainer) -> dict[str, Any]:
    return {"held_out": evaluate(trainer)}


def _demo_figures(trainer: VAETrainer) -> dict[str, Any]:
    figures = _held_out(trainer)
    if trainer.settings.objective == "elbo" and isinstance(trainer.average, VAE) and not trainer.settings.conditional:
        batch = trainer.images.train[: trainer.settings.batch_size]
        figures["step_time"] = compare_step_times(trainer.average, batch)
    figures["quality"] = quality(trainer.images, lambda num: trainer.samples(num, "quality"))
    return figures


def evaluate_vae(trainer: VAETrainer, path: Path, samples: int, json_file: Path | None) -> None:
    """A table of what is found out about a trained VAE, and a file of it."""
    out = console()
    with Progress(console=out, transient=True, disable=not out.is_terminal) as bar:
        figures = examine(trainer, samples, lambda items, description: bar.track(items, description=description))
    figures = figures_of(trainer, path, figures)
    report_examination(figures, out)
    write_figures(json_file, figures, out)


def _settings(how: RunOptions, given: dict[str, Any]) -> tuple[VAESettings, int]:
    if given.get("beta") is None and given["objective"] == "beta-tcvae":
        given["beta"] = _TC_BETA
    if given["model"] == "hierarchical":
        given |= {name: value for name, value in _HIERARCHICAL.items() if given.get(name) is None}
    return settings_for(RECIPES, how.steps, **given)
