"""The pictures of a GAN: samples, paths between them, their nearest training images, history."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from genkern.cli.drawing import COLUMNS, SAMPLE_ROWS, draw_grid, draw_history, draw_samples
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.quality import Space, nearest
from genkern.cli.sampling import paths, pictures_of, rows_of_classes

_PANELS = {
    "losses": {"discriminator": "discriminator_loss", "generator": "generator_loss"},
    "penalty": {"in the discriminator's loss": "penalty"},
    "mean logits": {"training": "train_logit", "held out": "held_out_logit", "generated": "generated_logit"},
}


@torch.no_grad()
def draw_interpolation(trainer: GANTrainer, path: Path) -> None:
    """A grid whose rows lead from one draw of z to another."""
    z = paths(trainer.gan, SAMPLE_ROWS, COLUMNS, trainer.key("interpolation"))
    labels = rows_of_classes(trainer.settings.num_classes(trainer.images), COLUMNS, SAMPLE_ROWS)
    title = f"{trainer.images.name}: from left to right, spherical paths between two draws of z"
    draw_grid(path, [pictures_of(trainer.gan, z, labels)], title)


def draw_neighbours(trainer: GANTrainer, path: Path) -> None:
    """The first samples of samples.png, each above the training image nearest to it: what is a copy shows."""
    samples = trainer.sample_grid(SAMPLE_ROWS, COLUMNS)[: 3 * COLUMNS]
    space = Space(trainer.images)
    found = space.training_images(nearest(space(samples), space.train)[1])
    draw_grid(
        path,
        [samples, found],
        f"{trainer.images.name}: samples, each above the nearest training image"
        f"{', mirrored or not,' if space.mirrored else ''} in {space.dims} principal components",
    )


PICTURES: dict[str, Callable[[GANTrainer, Path], None]] = {
    "samples.png": partial(draw_samples, "samples of the averaged generator, z ~ N(0, I), temperature 1"),
    "interpolation.png": draw_interpolation,
    "neighbours.png": draw_neighbours,
    "history.png": partial(draw_history, _PANELS),
}
