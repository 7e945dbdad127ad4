"""The commands, and how each of them fails: one line on stderr, exit code 2."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

import genkern
from genkern.cli.checkpoint import replace_file
from genkern.cli.data import load_images
from genkern.cli.errors import CommandError
from genkern.cli.evaluation import evaluate
from genkern.cli.pictures import draw_history, draw_reconstructions, draw_samples
from genkern.cli.session import CHECKPOINT, Interrupted, fit, prepare_folder
from genkern.cli.settings import Settings
from genkern.cli.timing import compare_step_times
from genkern.cli.trainer import HISTORY, Trainer

__all__ = ["app", "run"]

_DEFAULTS: dict[str, tuple[Settings, int]] = {
    "faces": (Settings(), 1000),
    "digits": (Settings(data="digits", model="mlp", latent_dim=8), 2000),
    "folder": (Settings(data="folder", model="conv", latent_dim=32), 3000),
}

app = typer.Typer(
    name="genkern",
    help="Fused, reproducible kernels for generative models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
train_app = typer.Typer(help="Train a model.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(train_app, name="train")

Data = Annotated[str, typer.Option(help="faces, digits, or a folder of images.")]
Out = Annotated[Path, typer.Option(help="Folder of the results.")]
Steps = Annotated[int | None, typer.Option(help="Training steps; what suits the data by default.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads; torch's default otherwise.")]
Resume = Annotated[str, typer.Option(help="auto: go on from the checkpoint in --out; never: start over.")]
Likelihood = Annotated[str | None, typer.Option(help="gaussian or bernoulli.")]
Sigma = Annotated[str | None, typer.Option(help="Of the Gaussian: learned, optimal, decoder or a number.")]
Model = Annotated[str | None, typer.Option(help="conv, mlp, or hybrid (conv encoder, mlp decoder).")]
LatentDim = Annotated[int | None, typer.Option(help="Latent dimensions.")]
Seed = Annotated[int | None, typer.Option(help="Every random number of the run is a function of it.")]
Size = Annotated[int | None, typer.Option(help="Pixels to a side, for a folder of images.")]


def run() -> None:
    """The console script."""
    try:
        app()
    except CommandError as error:
        print(f"genkern: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Interrupted as error:
        print(f"genkern: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


@app.command()
def info(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """What genkern runs on: backend, versions, threads, CUDA or the reason why not."""
    facts = genkern.info()
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
        return
    table = Table(show_header=False, title="genkern", title_justify="left")
    for name, value in facts.items():
        table.add_row(name, json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else str(value))
    Console().print(table)


@app.command()
def demo(
    data: Data = "faces",
    out: Out = Path("genkern-demo"),
    likelihood: Likelihood = None,
    sigma: Sigma = None,
    model: Model = None,
    latent_dim: LatentDim = None,
    steps: Steps = None,
    seed: Seed = None,
    size: Size = None,
    threads: Threads = None,
    resume: Resume = "auto",
) -> None:
    """Train a VAE on real images, evaluate it on images it never saw, and draw what it learned."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    options = {"likelihood": likelihood, "sigma": sigma, "model": model, "latent_dim": latent_dim}
    trainer, metrics = _train(data, out, steps, threads, resume, console, seed=seed, size=size, **options)
    metrics["step_time"] = compare_step_times(trainer.average, trainer.images.train[: trainer.settings.batch_size])
    draw_samples(trainer, out / "samples.png")
    draw_reconstructions(trainer, out / "reconstructions.png")
    draw_history(trainer, out / "history.png")
    _write_metrics(out, metrics)
    _report(metrics, console)
    console.print(f"wrote {CHECKPOINT}, metrics.json, samples.png, reconstructions.png and history.png into {out}")


@train_app.command("vae")
def train_vae(
    data: Data = "faces",
    out: Out = Path("genkern-vae"),
    likelihood: Likelihood = None,
    sigma: Sigma = None,
    model: Model = None,
    latent_dim: LatentDim = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the KL term.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps over which that weight grows from 0.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.")] = None,
    interval: Annotated[int | None, typer.Option(help="Steps between two checkpoints.")] = None,
    steps: Steps = None,
    seed: Seed = None,
    size: Size = None,
    threads: Threads = None,
    resume: Resume = "auto",
) -> None:
    """Train a VAE; a run that was stopped goes on from its checkpoint to the numbers it would have reached."""
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    options = {"likelihood": likelihood, "sigma": sigma, "model": model, "latent_dim": latent_dim, "beta": beta}
    options |= {"warmup": warmup, "batch_size": batch_size, "learning_rate": learning_rate, "interval": interval}
    _, metrics = _train(data, out, steps, threads, resume, console, seed=seed, size=size, **options)
    _write_metrics(out, metrics)
    _report(metrics, console)
    console.print(f"wrote {CHECKPOINT} and metrics.json into {out}")


def _train(
    data: str, out: Path, steps: int | None, threads: int | None, resume: str, console: Console, **options: Any
) -> tuple[Trainer, dict[str, Any]]:
    defaults, default_steps = _DEFAULTS.get(data, _DEFAULTS["folder"])
    settings = defaults.changed(data=data if data in _DEFAULTS else os.path.abspath(data), **options)
    if threads is not None:
        if threads < 1:
            raise CommandError(f"--threads: expected at least 1, got {threads}")
        torch.set_num_threads(threads)
    if steps is not None and steps < 1:
        raise CommandError(f"--steps: expected at least 1, got {steps}")
    images = load_images(data, settings.size)
    prepare_folder(out)
    console.print(
        f"{images.name}: {len(images.train)} images of {'×'.join(map(str, images.shape))} to train on"
        f"{', mirrored and jittered' if images.augment else ''}; {len(images.held_out)} held out"
    )
    trainer = Trainer(settings, images)
    fit(trainer, out, default_steps if steps is None else steps, resume=resume, console=console)
    return trainer, {
        "settings": settings.to_dict(),
        "steps": trainer.step,
        "data": {"name": images.name, "train": len(images.train), "fingerprint": images.fingerprint()},
        "history": [dict(zip(HISTORY, record, strict=True)) for record in trainer.history],
        "held_out": evaluate(trainer),
    }


def _write_metrics(out: Path, metrics: dict[str, Any]) -> None:
    replace_file(out / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())


def _report(metrics: dict[str, Any], console: Console) -> None:
    held_out = metrics["held_out"]
    table = Table(title=f"{held_out['images']} held-out images ({held_out['measure']})", title_justify="left")
    for heading in ("", "nats/image", "bits/dim"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    per_nat = held_out["elbo_bits_per_dim"] / held_out["elbo_nats"]
    table.add_row("ELBO", f"{held_out['elbo_nats']:.2f}", f"{held_out['elbo_bits_per_dim']:.4f}")
    table.add_row("  log p(x|z)", f"{held_out['reconstruction_nats']:.2f}", "")
    table.add_row("  KL(q(z|x) ‖ p(z))", f"{held_out['kl_nats']:.2f}", "")
    table.add_row(
        f"log p(x), {held_out['importance_samples']} importance samples",
        f"{held_out['log_likelihood_nats']:.2f}",
        f"{held_out['log_likelihood_bits_per_dim']:.4f}",
    )
    for name, value in held_out["baselines_nats"].items():
        table.add_row(f"log p(x), baseline {name}", f"{value:.2f}", f"{value * per_nat:.4f}")
    console.print(table)
    if "step_time" in metrics:
        times = metrics["step_time"]
        console.print(
            f"training step, batch {times['batch_size']}, {times['threads']} threads: "
            f"genkern {times['genkern_ms']:.2f} ms, plain torch {times['plain_torch_ms']:.2f} ms, "
            f"ratio {times['plain_over_genkern']:.2f} (medians of {times['rounds']} interleaved rounds)"
        )
