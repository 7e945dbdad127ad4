"""The commands, and how each of them fails: one line on stderr, exit code 2."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

import genkern
import genkern.rebuild
from genkern.cli.bench import bench
from genkern.cli.checkpoint import load_checkpoint
from genkern.cli.engine import is_first, is_left_alone, started, was_started
from genkern.cli.errors import CommandError, with_page
from genkern.cli.gan.command import demo_gan, evaluate_gan, train_gan
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.job import console, set_threads
from genkern.cli.options import Cache, Device, RunOptions, Threads, command
from genkern.cli.session import Interrupted, checkpoint_of
from genkern.cli.trained import export, interpolate, sample
from genkern.cli.trainer import family_of
from genkern.cli.vae.command import demo_vae, evaluate_vae, train_vae
from genkern.cli.vae.settings import VAESettings
from genkern.cli.vae.trainer import VAETrainer

app = typer.Typer(
    name="genkern",
    help="Fused, reproducible kernels for generative models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
train_app = typer.Typer(help="Train a model.", no_args_is_help=True, rich_markup_mode=None)
train_app.command("vae")(train_vae)
train_app.command("gan")(train_gan)
app.add_typer(train_app, name="train")
app.command("sample")(sample)
app.command("interpolate")(interpolate)
app.command("export")(export)
app.command("bench")(bench)


@app.command()
def rebuild() -> None:
    """Build the binary for the torch that is running, in place."""
    raise typer.Exit(genkern.rebuild.main())


def run() -> None:
    """The console script."""
    try:
        app()
    except CommandError as error:
        _end(with_page(error), 2)
    except Interrupted as error:
        _end(str(error), error.exit_code)
    except RuntimeError as error:
        if is_left_alone(error):
            _end(str(error), 2)
        raise


def _end(told: str, code: int) -> NoReturn:
    """The first process says why, and has the exit code; those that it started must not end it before it has."""
    if is_first():
        print(f"genkern: {told}", file=sys.stderr)
    raise SystemExit(0 if was_started() else code) from None


@app.command()
def info(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show what genkern runs on: backend, versions, threads, CUDA or the reason why not."""
    facts = genkern.info()
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
        return
    table = Table(show_header=False, title="genkern", title_justify="left")
    for name, value in facts.items():
        table.add_row(name, json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else str(value))
    console().print(table)


_OF_DEMO = (
    *("data", "out", "likelihood", "sigma", "conditional", "objective", "latent_dim", "steps", "seed", "size"),
    *("bad_images", "cache", "device", "precision", "threads", "resume", "keep"),
)


@app.command()
@command(VAESettings, only=_OF_DEMO, data="faces", out=Path("genkern-demo"), keep="best")
def demo(
    how: RunOptions,
    given: dict[str, Any],
    model: Annotated[str | None, typer.Option(help="conv, mlp, hybrid or hierarchical: a VAE; gan.")] = None,
) -> None:
    """Train a model on real images, evaluate it on images it never saw, and draw what it learned."""
    if model != "gan":
        demo_vae(how, given | {"model": model})
        return
    for name in ("likelihood", "sigma", "objective"):
        if given.pop(name) is not None:
            raise CommandError(f"--{name}: expected --model conv, mlp, hybrid or hierarchical, got 'gan'")
    demo_gan(replace(how, keep="last"), given)


@app.command("evaluate")
def evaluate_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, or the folder of a run.")],
    samples: Annotated[int, typer.Option(help="Importance samples for each held-out image, for a VAE.")] = 5000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures into this file, too.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the run's images are now, if they have moved.")] = None,
    cache: Cache = None,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Measure a trained VAE (bounds of log p(x), what its latents carry, a Parzen window about its samples) or the
    quality of a GAN's samples."""
    if samples < 1:
        raise CommandError(f"--samples: expected at least 1, got {samples}")
    if json_file is not None and (json_file.is_dir() or not json_file.parent.is_dir()):
        raise CommandError(f"--json: expected a file in a folder that exists, got {str(json_file)!r}")
    set_threads(threads)
    path = checkpoint_of(checkpoint)
    tensors, metadata = load_checkpoint(path)
    found: Any = tensors, metadata, str(path), data, cache, started(device)
    if family_of(metadata) == GANTrainer.family:
        evaluate_gan(GANTrainer.restored(*found), path, json_file)
    else:
        evaluate_vae(VAETrainer.restored(*found), path, samples, json_file)
