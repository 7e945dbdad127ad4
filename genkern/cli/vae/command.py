"""``genkern train vae``, and the demo and the evaluation of a VAE."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from genkern.cli import options
from genkern.cli.job import RunOptions, console, figures_of, run, settings_for, write_figures
from genkern.cli.quality import quality
from genkern.cli.vae.evaluation import evaluate
from genkern.cli.vae.examination import examine
from genkern.cli.vae.pictures import PICTURES
from genkern.cli.vae.report import report, report_examination
from genkern.cli.vae.settings import LIKELIHOODS, OBJECTIVES, VAESettings
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

Likelihood = Annotated[str | None, typer.Option(help=f"Likelihood of a pixel: {', '.join(LIKELIHOODS)}.")]
Sigma = Annotated[
    str | None,
    typer.Option(help="Scale of the likelihoods that have one: learned, decoder, a number; gaussian also: optimal."),
]
Model = Annotated[
    str | None,
    typer.Option(help="conv, mlp, hybrid (conv encoder, mlp decoder), hierarchical (latents on many levels)."),
]
Objective = Annotated[str | None, typer.Option(help=f"Objective of the training: {', '.join(OBJECTIVES)}.")]


def train_vae(
    data: options.Data = "faces",
    out: options.Out = Path("genkern-vae"),
    likelihood: Likelihood = None,
    binarize: Annotated[
        bool, typer.Option("--binarize", help="Black and white pixels, drawn anew at every step by their intensities.")
    ] = False,
    sigma: Sigma = None,
    model: Model = None,
    conditional: options.Conditional = False,
    objective: Objective = None,
    latent_dim: Annotated[
        int | None, typer.Option(help="Latent dimensions; channels of a level of a hierarchy.")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Levels of a hierarchy at each resolution, the coarsest first: 2,4,4,2.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Channels of a hierarchy.")] = None,
    free_bits: Annotated[float | None, typer.Option(help="Nats of a hierarchy's level that cost nothing.")] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the KL term; of the total correlation.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps over which that weight grows from 0.")] = None,
    batch_size: options.BatchSize = None,
    accumulate: Annotated[int | None, typer.Option(help="Parts of a batch, one after the other, for memory.")] = None,
    learning_rate: options.LearningRate = None,
    rate_warmup: options.RateWarmup = None,
    cosine: options.Cosine = None,
    clip: options.Clip = None,
    skip: Annotated[float | None, typer.Option(help="Norm above which a step's gradient is left out.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the averaged model.")] = None,
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
    shard: Annotated[
        bool, typer.Option("--shard", help="Each process holds its part of the model: for one too large for a device.")
    ] = False,
    workers: options.Workers = None,
    threads: options.Threads = None,
    resume: options.Resume = "auto",
    keep: options.Keep = "best",
    log: options.Log = None,
) -> None:
    """Train a VAE; a run that was stopped goes on from its checkpoint to the numbers it would have reached."""
    given: dict[str, Any] = {"likelihood": likelihood, "sigma": sigma, "model": model, "objective": objective}
    given |= {"beta": beta, "latent_dim": latent_dim, "warmup": warmup, "batch_size": batch_size}
    given |= {"learning_rate": learning_rate, "interval": interval, "seed": seed, "size": size}
    given |= {"bad_images": bad_images, "accumulate": accumulate, "clip": clip, "cosine": cosine, "ema": ema}
    given |= {"rate_warmup": rate_warmup, "precision": precision, "binarize": binarize}
    given |= {"conditional": conditional, "levels": levels, "width": width, "free_bits": free_bits, "skip": skip}
    settings, steps = _settings(data, steps, **given)
    how = RunOptions(out, threads, resume, cache, keep, log, device, compile, processes, workers, shard)
    run(VAETrainer, settings, steps, how, measure=_held_out, report=report, pictures={})


def demo_vae(data: str, steps: int | None, how: RunOptions, **options: Any) -> None:
    """Train a VAE on real images, evaluate it on images it never saw, and draw what it learned."""
    settings, steps = _settings(data, steps, **options)
    run(VAETrainer, settings, steps, how, measure=_demo_figures, report=report, pictures=PICTURES)


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


def _settings(data: str, steps: int | None, **options: Any) -> tuple[VAESettings, int]:
    if options.get("beta") is None and options["objective"] == "beta-tcvae":
        options["beta"] = _TC_BETA
    if options["model"] == "hierarchical":
        options |= {name: value for name, value in _HIERARCHICAL.items() if options.get(name) is None}
    return settings_for(RECIPES, data, steps, **options)
