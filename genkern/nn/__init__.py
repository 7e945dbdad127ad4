"""Modules: heads, losses, likelihoods, objectives, and the VAE and GAN families."""

from typing import TYPE_CHECKING

from genkern.nn import (
    adversarial,
    gan,
    gan_networks,
    gradients,
    heads,
    hierarchical,
    ladder,
    likelihoods,
    losses,
    networks,
    objectives,
    vae,
    vae_gan,
)
from genkern.nn.adversarial import *  # noqa: F403
from genkern.nn.gan import *  # noqa: F403
from genkern.nn.gan_networks import *  # noqa: F403
from genkern.nn.gradients import *  # noqa: F403
from genkern.nn.heads import *  # noqa: F403
from genkern.nn.hierarchical import *  # noqa: F403
from genkern.nn.ladder import *  # noqa: F403
from genkern.nn.likelihoods import *  # noqa: F403
from genkern.nn.losses import *  # noqa: F403
from genkern.nn.networks import *  # noqa: F403
from genkern.nn.objectives import *  # noqa: F403
from genkern.nn.vae import *  # noqa: F403
from genkern.nn.vae_gan import *  # noqa: F403

if not TYPE_CHECKING:  # as in genkern.functional
    _parts = (
        adversarial,
        gan,
        gan_networks,
        gradients,
        heads,
        hierarchical,
        ladder,
        likelihoods,
        losses,
        networks,
        objectives,
        vae,
        vae_gan,
    )
    __all__ = [name for part in _parts for name in part.__all__]
