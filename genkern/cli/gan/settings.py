"""The settings of a GAN's run, and the model they describe."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import nn
from typer import Option

from genkern.cli.data import Images
from genkern.cli.errors import CommandError
from genkern.cli.settings import RunSettings
from genkern.functional.gan import KINDS
from genkern.nn import GAN, ConvDiscriminator, ConvGenerator, gan, gan_networks

LOSSES = KINDS
PENALTIES = ("none", *gan.PENALTIES)
CLASSIFIERS = gan_networks.CONDITIONALS
_SLOPE = 0.2
_LAST = 0.3


@dataclass(frozen=True)
class GANSettings(RunSettings):
    """Loss, penalty, optimisers, networks."""

    batch_size: int = 16
    learning_rate: float = 2e-3
    loss: Annotated[str, Option(help=f"{', '.join(LOSSES)}.")] = "non_saturating"
    penalty: Annotated[str, Option(help=f"Penalty of the discriminator's slope: {', '.join(PENALTIES)}.")] = "r1"
    penalty_weight: Annotated[float | None, Option(help="Its factor.")] = None
    penalty_interval: Annotated[
        int, Option(help="Discriminator steps to one with the penalty, which then counts as often.")
    ] = 4
    n_critic: Annotated[int, Option(help="Discriminator steps to one of the generator.")] = 1
    latent_dim: Annotated[int, Option(help="Latent dimensions.")] = 32
    width: Annotated[int, Option(help="Channels at full resolution.")] = 16
    minibatch_stddev: Annotated[
        bool, Option(help="Whether the discriminator sees how much the images of a group differ.")
    ] = False
    ema: float = 0.998
    classifier: Annotated[
        str, Option(help=f"How the discriminator of a conditional GAN knows classes: {', '.join(CLASSIFIERS)}.")
    ] = "projection"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_one_of(LOSSES, "loss")
        self.require_one_of(PENALTIES, "penalty")
        self.require_one_of(CLASSIFIERS, "classifier")
        if self.classifier != "projection" and not self.conditional:
            raise CommandError(f"--classifier: expected --conditional beside it, got {self.classifier!r} alone")
        self.require_at_least(1, "penalty_interval", "n_critic", "latent_dim", "width")
        if self.penalty_weight is not None:
            self.require_at_least(0, "penalty_weight")
        if self.precision == "16" and self.penalty != "none":  # a slope is a gradient that no scaler has scaled
            raise CommandError(f"--precision: expected 32 or bf16 with --penalty {self.penalty}, got '16'")


def build_gan(settings: GANSettings, images: Images) -> GAN:
    """The model of a run, its parameters a function of the seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        told: dict[str, Any] = {"width": settings.width, "num_classes": settings.num_classes(images)}
        generator = ConvGenerator(images.shape, settings.latent_dim, **told)
        discriminator = ConvDiscriminator(
            images.shape, minibatch_stddev=settings.minibatch_stddev, conditional=settings.classifier, **told
        )
        for network in (generator, discriminator):
            _start(network)
    return GAN(
        generator,
        discriminator,
        loss=settings.loss,
        penalty=None if settings.penalty == "none" else settings.penalty,
        penalty_weight=settings.penalty_weight,
        penalty_interval=settings.penalty_interval,
        ema_decay=settings.ema,
    )


@torch.no_grad()
def _start(network: nn.Module) -> None:
    """Weights that keep the size of a signal through leaky rectifiers (He et al. 2015).

    torch's own let it fade from layer to layer, and a penalty keeps it there: the discriminator would say nothing.
    """
    modules = [module for name, module in network.named_modules() if name != "classifier"]  # which is as torch has it
    layers = [layer for layer in modules if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, a=_SLOPE)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    layers[-1].weight *= _LAST
