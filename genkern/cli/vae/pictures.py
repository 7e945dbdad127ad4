"""The pictures of a VAE: samples, reconstructions, history."""

from pathlib import Path

from genkern.cli.drawing import COLUMNS, draw_curves, draw_grid
from genkern.cli.vae.trainer import VAETrainer

_SAMPLE_ROWS = 6


def draw_samples(trainer: VAETrainer, path: Path) -> None:
    """E[x | z] for z drawn from the prior at temperature 1: no picking, no truncation."""
    samples = trainer.samples(COLUMNS * _SAMPLE_ROWS)
    draw_grid(
        path,
        [samples],
        f"{trainer.images.name}: samples, decoder means of z ~ N(0, I), temperature 1",
    )


def draw_reconstructions(trainer: VAETrainer, path: Path) -> None:
    """Held-out images, each above its reconstruction from the posterior mean."""
    inputs = trainer.images.held_out[: 3 * COLUMNS]
    draw_grid(
        path,
        [inputs, trainer.average.reconstruct(inputs)],
        f"{trainer.images.name}: held-out images, each above its reconstruction",
    )


def draw_history(trainer: VAETrainer, path: Path) -> None:
    """The bound and its parts over the steps."""
    parts = {"elbo": "ELBO, nats", "reconstruction": "log p(x|z), nats", "kl": "KL(q(z|x) ‖ p(z)), nats"}
    panels = {title: {"training": name, "held out": f"held_out_{name}"} for name, title in parts.items()}
    draw_curves(path, trainer.records(), panels)


PICTURES = {"samples.png": draw_samples, "reconstructions.png": draw_reconstructions, "history.png": draw_history}
