"""The pictures of a VAE: samples, reconstructions, history."""

from pathlib import Path

from genkern.cli.drawing import COLUMNS, draw_curves, draw_grid
from genkern.cli.vae.trainer import VAETrainer

_SAMPLE_ROWS = 6


def draw_samples(trainer: VAETrainer, path: Path) -> None:
    """E[x | z] for z drawn from the prior at temperature 1: no picking, no truncation."""
    title = f"{trainer.images.name}: samples, decoder means of z ~ p(z), temperature 1"
    draw_grid(path, [trainer.sample_grid(_SAMPLE_ROWS, COLUMNS)], title)


def draw_reconstructions(trainer: VAETrainer, path: Path) -> None:
    """Held-out images, each above its reconstruction from the posterior mean."""
    some, held_out = slice(3 * COLUMNS), trainer.images.held_out
    found = trainer.average.reconstruct(held_out[some], condition=held_out.labels(some))
    draw_grid(path, [held_out[some], found], f"{trainer.images.name}: held-out images, each above its reconstruction")


def draw_history(trainer: VAETrainer, path: Path) -> None:
    """The bound and its parts over the steps."""
    parts = {"elbo": "ELBO, nats", "reconstruction": "log p(x|z), nats", "kl": "KL(q(z|x) ‖ p(z)), nats"}
    panels = {title: {"training": name, "held out": f"held_out_{name}"} for name, title in parts.items()}
    draw_curves(path, trainer.records(), panels)


PICTURES = {"samples.png": draw_samples, "reconstructions.png": draw_reconstructions, "history.png": draw_history}
