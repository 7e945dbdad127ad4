"""A few steps of each model on the stand-in device and on the CPU, as JSON: a process can have only one such device."""

import json
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from genkern.cli.data import Pixels
from genkern.cli.engine import Engine, started
from genkern.cli.gan.settings import GANSettings
from genkern.cli.gan.trainer import GANTrainer
from genkern.cli.quality import quality
from genkern.cli.vae.evaluation import evaluate
from genkern.cli.vae.examination import examine
from genkern.cli.vae.settings import VAESettings
from genkern.cli.vae.trainer import VAETrainer
from support import standin
from support.command import tiny_images


def elsewhere() -> Engine:
    """An engine of the stand-in, which Fabric does not know."""
    device = torch.device(standin.NAME)
    precision = SimpleNamespace()
    return Engine(
        SimpleNamespace(
            device=device,
            world_size=1,
            global_rank=0,
            is_global_zero=True,
            strategy=SimpleNamespace(precision=precision),
            to_device=lambda module: module.to(device),
            autocast=nullcontext,
        )
    )


def figures(engine: Engine) -> dict:
    images = tiny_images(augment=False)
    vae = VAETrainer(VAESettings(model="mlp", latent_dim=2, batch_size=4, interval=2), images, engine)
    settings = GANSettings(latent_dim=3, width=2, batch_size=4, interval=2, penalty_interval=2)
    gan = GANTrainer(settings, images, engine)
    told = replace(images, train=_of_classes(images.train), held_out=_of_classes(images.held_out), classes=("a", "b"))
    ladder = VAESettings(model="hierarchical", width=4, latent_dim=2, batch_size=4, interval=2, conditional=True)
    trainers = [
        vae,
        gan,
        VAETrainer(ladder, told, engine),
        GANTrainer(settings.changed(conditional=True), told, engine),
    ]
    for trainer in trainers:
        for _ in range(4):
            trainer.advance()
    return {
        "devices": [str(trainer.samples(2).device.type) for trainer in (vae, gan)],
        "history": [trainer.history for trainer in trainers],
        "evaluated": evaluate(vae),
        "conditional": [trainer.sample_grid(1, 2).mean(dim=(1, 2, 3)).tolist() for trainer in trainers[2:]],
        "examined": examine(vae, 10, lambda items, description: items),
        "quality": quality(gan.images, gan.samples),
    }


def _of_classes(pixels: Pixels) -> Pixels:
    return pixels.of_classes(np.arange(len(pixels)) % 2)


if __name__ == "__main__":
    library = standin.register()
    print(json.dumps([figures(started()), figures(elsewhere())]))
