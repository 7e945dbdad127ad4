"""The pictures of a VAE: samples, reconstructions, history."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from genkern.cli.drawing import COLUMNS, draw_grid, draw_history, draw_samples
from genkern.cli.vae.trainer import VAETrainer

_PARTS = {"elbo": "ELBO, nats", "reconstruction": "log p(x|z), nats", "kl": "KL(q(z|x) ‖ p(z)), nats"}


def draw_reconstructions(trainer: VAETrainer, path: Path) -> None:
    """Held-out images, each above its reconstruction from the posterior mean."""
    some, held_out = slice(3 * COLUMNS), trainer.images.held_out
    found = trainer.average.reconstruct(held_out[some], condition=held_out.labels(some))
    draw_grid(path, [held_out[some], found], f"{trainer.images.name}: held-out images, each above its reconstruction")


PICTURES: dict[str, Callable[[VAETrainer, Path], None]] = {
    "samples.png": partial(draw_samples, "samples, decoder means of z ~ p(z), temperature 1"),
    "reconstructions.png": draw_reconstructions,
    "history.png": partial(
        draw_history, {title: {"training": name, "held out": f"held_out_{name}"} for name, title in _PARTS.items()}
    ),
}
