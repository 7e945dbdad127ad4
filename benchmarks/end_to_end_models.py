"""Models that are trained with and without genkern: networks of plain torch, and the formulas of their losses.

A network has no formula of its own. It calls those that it is given: a class that writes them as people do, or the
subclass of it that calls genkern.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import genkern as gk
from benchmarks import rivals
from genkern.compat import diffusers as compat_diffusers
from genkern.nn import (
    ConvDecoder,
    ConvDiscriminator,
    ConvEncoder,
    ConvGenerator,
    LadderDecoder,
    LadderEncoder,
    MLPDecoder,
    MLPEncoder,
)


class Network(nn.Module):
    """A network and its batch: `loss` is that of one training step, by `formulas`."""

    formulas: Any
    x: Tensor

    @property
    def title(self) -> str:
        raise NotImplementedError

    def loss(self) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Training:
    """`before` makes the formulas as people write them, `after` those by genkern, for the same network."""

    network: Callable[..., Network]
    before: Callable[[], Any]
    after: Callable[[], Any]

    def networks(self, **sizes: int) -> dict[str, Network]:
        """One of either side, of equal weights and data."""
        made = {}
        for side, formulas in (("before", self.before), ("after", self.after)):
            torch.manual_seed(0)
            made[side] = self.network(formulas(), **sizes)
        return made


# A convolutional VAE with Bernoulli pixels.


class VAEFormulas:
    def latent(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """A draw of z, and the batch's mean KL from N(0, I)."""
        z, kl = rivals.rsample_kl_packed(moments)
        return z, kl.mean()

    def nll(self, x: Tensor, logits: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)


class FusedVAEFormulas(VAEFormulas):
    def latent(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        return gk.gaussian_rsample_kl_packed(moments, reduction="batchmean")

    def nll(self, x: Tensor, logits: Tensor) -> Tensor:
        return gk.bernoulli_nll(x, logits, reduction="batchmean")


class ConvVAE(Network):
    def __init__(
        self, formulas: VAEFormulas, batch: int = 64, size: int = 28, latent: int = 32, width: int = 32
    ) -> None:
        super().__init__()
        self.formulas = formulas
        self.encoder = ConvEncoder((1, size, size), latent, width=width)
        self.decoder = ConvDecoder((1, size, size), latent, width=width)
        self.register_buffer("x", _black_and_white(batch, size))

    @property
    def title(self) -> str:
        return f"convolutional VAE, Bernoulli pixels, {_shape(self.x)}"

    def loss(self) -> Tensor:
        z, kl = self.formulas.latent(self.encoder(self.x))
        return kl + self.formulas.nll(self.x, self.decoder(z))


# A stack as in VDVAE (Child 2021), with NVAE's residual posteriors (Vahdat & Kautz 2020).


class HierarchicalFormulas:
    def latent(self, pm: Tensor, pv: Tensor, dm: Tensor, dv: Tensor) -> tuple[Tensor, Tensor]:
        """A draw of z, and the batch's mean KL; p has mean pm and log std pv, by which q departs dm and dv."""
        qm, qv = pm + dm, pv + dv
        z = torch.exp(qv) * torch.randn_like(qm) + qm
        kl = -0.5 + pv - qv + 0.5 * (qv.exp() ** 2 + (qm - pm) ** 2) / pv.exp() ** 2
        return z, kl.sum() / len(z)

    def nll(self, x: Tensor, params: Tensor) -> Tensor:
        return rivals.logistic_mixture_nll(x, params)[0].mean()


class FusedHierarchicalFormulas(HierarchicalFormulas):
    def latent(self, pm: Tensor, pv: Tensor, dm: Tensor, dv: Tensor) -> tuple[Tensor, Tensor]:
        z, kl, _, _ = gk.gaussian_residual_rsample_kl(pm, pv, dm, dv, scale_param="logstd", reduction="batchmean")
        return z, kl

    def nll(self, x: Tensor, params: Tensor) -> Tensor:
        return gk.discretized_logistic_mixture_nll(x, params, mixtures=params.shape[1] // 10, reduction="batchmean")


class HierarchicalVAE(Network):
    """Two levels at each of three resolutions, top-down, as `genkern.nn.HierarchicalVAE` goes through them."""

    def __init__(
        self,
        formulas: HierarchicalFormulas,
        batch: int = 16,
        size: int = 32,
        latent: int = 16,
        width: int = 128,
        mixtures: int = 10,
    ) -> None:
        super().__init__()
        self.formulas = formulas
        shape, levels = (3, size, size), (2, 2, 2)
        self.encoder = LadderEncoder(shape, levels, width=width, depth=1)
        self.decoder = LadderDecoder(shape, levels, width=width, latent_channels=latent, out_channels=10 * mixtures)
        self.register_buffer("x", torch.randint(256, (batch, *shape)) / 127.5 - 1)

    @property
    def title(self) -> str:
        return f"hierarchical VAE, {len(self.decoder.levels)} levels, mixture of logistics, {_shape(self.x)}"

    def loss(self) -> Tensor:
        features, h, divergences = self.encoder(self.x), self.decoder.start(len(self.x)), []
        for level in self.decoder.levels:
            h = level.enter(h)
            departure = level.posterior(h, features[level.group])
            loc, scale, h = level.prior(h)
            z, kl = self.formulas.latent(loc, scale, *departure)
            h = level.merge(h, z)
            divergences.append(kl)
        nll = self.formulas.nll(self.x, self.decoder.finish(h))
        return (nll + torch.stack(divergences).sum()) / math.prod(self.x.shape[1:])


# beta-TCVAE (Chen et al. 2018): the paper's perceptron for dSprites and its batch.


class TCVAEFormulas:
    def sample(self, loc: Tensor, logvar: Tensor) -> Tensor:
        return rivals.rsample(loc, logvar)[0]

    def nll(self, x: Tensor, logits: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)

    def parts(self, z: Tensor, loc: Tensor, logvar: Tensor) -> tuple[Tensor, ...]:
        """Mutual information, total correlation and dimension-wise KL of each datum."""
        return rivals.total_correlation(z, loc, logvar)


class FusedTCVAEFormulas(TCVAEFormulas):
    def sample(self, loc: Tensor, logvar: Tensor) -> Tensor:
        return gk.gaussian_rsample(loc, logvar)

    def nll(self, x: Tensor, logits: Tensor) -> Tensor:
        return gk.bernoulli_nll(x, logits, reduction="batchmean")

    def parts(self, z: Tensor, loc: Tensor, logvar: Tensor) -> tuple[Tensor, ...]:
        return gk.total_correlation(z, loc, logvar, dataset_size=rivals.DATASET_SIZE)


class TCVAE(Network):
    def __init__(
        self, formulas: TCVAEFormulas, batch: int = 2048, size: int = 64, latent: int = 10, width: int = 1200
    ) -> None:
        super().__init__()
        self.formulas = formulas
        self.latent = latent
        self.encoder = MLPEncoder((1, size, size), latent, hidden=(width,) * 2)
        self.decoder = MLPDecoder((1, size, size), latent, hidden=(width,) * 3)
        self.register_buffer("x", _black_and_white(batch, size))

    @property
    def title(self) -> str:
        return f"β-TCVAE, {self.latent} latents, perceptron, {_shape(self.x)}"

    def loss(self) -> Tensor:
        loc, logvar = self.encoder(self.x).chunk(2, dim=1)
        z = self.formulas.sample(loc, logvar)
        nll = self.formulas.nll(self.x, self.decoder(z))
        mutual_information, total_correlation, dimension_wise_kl = self.formulas.parts(z, loc, logvar)
        return nll + (mutual_information + 6 * total_correlation + dimension_wise_kl).mean()


# diffusers' AutoencoderKL, with the squared error and the small weight of the KL of latent diffusion.


class PosteriorFormulas:
    """By the class that diffusers calls its posterior.

    Under `genkern.compat.diffusers.patch` it is genkern's. Where training patches once, a patch for each of the steps
    that alternate would look through thousands of modules, so the class is looked up once.
    """

    def __init__(self, patched: contextlib.AbstractContextManager[Any]) -> None:
        with patched:
            module = importlib.import_module("diffusers.models.autoencoders.autoencoder_kl")
            self.posterior: Any = module.DiagonalGaussianDistribution

    def latent(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.posterior(moments)
        return posterior.sample(), posterior.kl().mean()


class Autoencoder(Network):
    def __init__(self, formulas: PosteriorFormulas, batch: int = 4, size: int = 64, width: int = 32) -> None:
        super().__init__()
        self.formulas = formulas
        self.autoencoder = importlib.import_module("diffusers").AutoencoderKL(
            block_out_channels=(width, 2 * width),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=min(32, width),
            sample_size=size,
        )
        self.register_buffer("x", torch.rand(batch, 3, size, size) * 2 - 1)

    @property
    def title(self) -> str:
        return f"`AutoencoderKL` of diffusers, {_shape(self.x)}"

    def loss(self) -> Tensor:
        # What its encode() does before it makes the posterior.
        moments = self.autoencoder.quant_conv(self.autoencoder.encoder(self.x))
        z, kl = self.formulas.latent(moments)
        return F.mse_loss(self.autoencoder.decode(z).sample, self.x) + 1e-6 * kl


# The critic's step of WGAN-GP (Gulrajani et al. 2017).


class CriticFormulas:
    def points(self, real: Tensor, fake: Tensor) -> Tensor:
        return rivals.interpolate(real, fake)[0]

    def penalty(self, slope: Tensor) -> Tensor:
        return rivals.gradient_norm_penalty(slope)[0]

    def wasserstein(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()


class FusedCriticFormulas(CriticFormulas):
    def points(self, real: Tensor, fake: Tensor) -> Tensor:
        return gk.interpolate(real, fake)

    def penalty(self, slope: Tensor) -> Tensor:
        return gk.gradient_norm_penalty(slope)

    def wasserstein(self, real: Tensor, fake: Tensor) -> Tensor:
        return gk.gan_discriminator_loss(real=real, fake=fake, kind="wgan")


class Critic(Network):
    """The discriminator is trained; the generator only makes what it sees."""

    def __init__(
        self, formulas: CriticFormulas, batch: int = 64, size: int = 32, latent: int = 128, width: int = 32
    ) -> None:
        super().__init__()
        self.formulas = formulas
        self.generator = ConvGenerator((3, size, size), latent, width=width).requires_grad_(False)
        # Without genkern's own layer of statistics, which is no part of this comparison.
        self.discriminator = ConvDiscriminator((3, size, size), width=width, minibatch_stddev=False)
        self.register_buffer("x", torch.rand(batch, 3, size, size))

    @property
    def title(self) -> str:
        return f"WGAN-GP, a step of the critic, {_shape(self.x)}"

    def loss(self) -> Tensor:
        noise = torch.randn((len(self.x), *self.generator.latent_shape), dtype=self.x.dtype, device=self.x.device)
        fake = self.generator(noise)
        points = self.formulas.points(self.x, fake).requires_grad_()
        (slope,) = torch.autograd.grad(self.discriminator(points).sum(), points, create_graph=True)
        wasserstein = self.formulas.wasserstein(self.discriminator(self.x), self.discriminator(fake))
        return wasserstein + 10 * self.formulas.penalty(slope)


TRAININGS = (
    Training(ConvVAE, VAEFormulas, FusedVAEFormulas),
    Training(HierarchicalVAE, HierarchicalFormulas, FusedHierarchicalFormulas),
    Training(TCVAE, TCVAEFormulas, FusedTCVAEFormulas),
    Training(
        Autoencoder,
        lambda: PosteriorFormulas(contextlib.nullcontext()),
        lambda: PosteriorFormulas(compat_diffusers.patch()),
    ),
    Training(Critic, CriticFormulas, FusedCriticFormulas),
)


def _black_and_white(batch: int, size: int) -> Tensor:
    return torch.randint(2, (batch, 1, size, size)).float()


def _shape(batch: Tensor) -> str:
    return "[" + ", ".join(map(str, batch.shape)) + "]"
