"""The VAE-GAN: an encoder, a decoder that is a generator, and a discriminator that says what is similar."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genkern import _checks, functional
from genkern.functional import _ordered
from genkern.nn._condition import Condition, taking_of
from genkern.nn._inputs import check_augment, packed_moments
from genkern.nn._modes import evaluating, frozen
from genkern.nn.gan import GAN, Augment, Judgement

__all__ = ["VAEGAN"]


class _Draws(NamedTuple):
    """z ~ q(z | x), the KL divergence of q from the prior ``[B]``, and z ~ p(z)."""

    posterior: Tensor
    kl: Tensor
    prior: Tensor


class VAEGAN(GAN):
    """Autoencoding beyond pixels (Larsen et al. 2016): a VAE whose likelihood is in a discriminator's features.

    Parameters
    ----------
    encoder : Module
        Data → packed moments ``[B, 2·latent, ...]``, means then log-variances along dimension 1.
    generator : Module
        The decoder: `z` ``[B, latent, ...]`` → data.
    discriminator : Module
        ``classify(features(x))`` gives its logits, as in `ConvDiscriminator`.
    gamma : float
        Weight of the likelihood of features in the generator's loss, beside that of deceiving the discriminator.
    sigma : float
        Standard deviation of the likelihood of features, 1 in the paper. Where features are small, so must it be, or
        z comes to carry nothing.
    loss, penalty, penalty_weight, penalty_interval, label_smoothing, hinge_scale, latent_shape, ema_decay
        As `GAN`; "r2" and "gp" take the data made of the prior.

    See Also
    --------
    GAN : without an encoder
    VAE : without a discriminator
    AdversarialSteps : trains one

    Notes
    -----
    x̃ is made of z ~ q(z | x), xₚ of z ~ N(0, I), f are the features, and nll = −E log N(f(x); f(x̃), σ² I), without its
    ½ log 2π:

    ============= ====================== ==============================================
    step          parameters it reaches  loss
    ============= ====================== ==============================================
    encoder       encoder                KL(q ‖ N(0, I)) + nll
    decoder       generator              gamma nll + generator's loss of x̃ and xₚ
    generator     both                   the two together, each for its own parameters
    discriminator discriminator          discriminator's loss of x, and of x̃ and xₚ
    ============= ====================== ==============================================

    The losses of x̃ and xₚ, each a mean, are added up (Larsen et al. 2016, equation 8; algorithm 1). Noise, averages,
    `augment` (of what the discriminator classifies, not of the features that are compared) and errors as `GAN`;
    `AdversarialSteps` trains both, the encoder by the generator's optimiser.

    Examples
    --------
    >>> import torch, genkern as gk
    >>> from genkern.nn import ConvDiscriminator, ConvEncoder, ConvGenerator, VAEGAN
    >>> shape = (1, 8, 8)
    >>> networks = ConvEncoder(shape, 4, width=8), ConvGenerator(shape, 4, width=8), ConvDiscriminator(shape, width=8)
    >>> model = VAEGAN(*networks)
    >>> x = torch.rand(5, 1, 8, 8)
    >>> model.discriminator_step(x, key=gk.random.key(0)).loss.backward()
    >>> model.generator_step(x, key=gk.random.key(1)).backward()
    >>> model.reconstruct(x).shape
    torch.Size([5, 1, 8, 8])
    """

    _ROLES = ()  # that take a condition
    _STEP_NAMES = ("discriminator", "generator", "encoder", "decoder")

    def __init__(
        self,
        encoder: nn.Module,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        gamma: float = 0.01,
        sigma: float = 1.0,
        loss: str = "non_saturating",
        penalty: str | None = None,
        penalty_weight: float | None = None,
        penalty_interval: int = 1,
        label_smoothing: float = 0.0,
        hinge_scale: float = 1.0,
        latent_shape: Sequence[int] | None = None,
        ema_decay: float | None = 0.999,
    ) -> None:
        super().__init__(
            generator,
            discriminator,
            loss=loss,
            penalty=penalty,
            penalty_weight=penalty_weight,
            penalty_interval=penalty_interval,
            label_smoothing=label_smoothing,
            hinge_scale=hinge_scale,
            latent_shape=latent_shape,
            ema_decay=ema_decay,
        )
        _checks.instance("encoder", encoder, nn.Module, "a Module")
        for part in ("features", "classify"):
            if not callable(getattr(discriminator, part, None)):
                raise TypeError(f"discriminator: expected a Module with features and classify, got no {part}")
        for role, module in {"encoder": encoder, "generator": generator, "discriminator": discriminator}.items():
            if taking_of(module):
                raise ValueError(
                    f"{role}: expected a Module that needs no condition, for a VAEGAN has none, "
                    f"got {_checks.type_name(module)}"
                )
        self.encoder = encoder
        self.gamma = _checks.number("gamma", gamma, minimum=0)
        self.sigma = _checks.positive_number("sigma", sigma)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma!r}, sigma={self.sigma!r}, {super().extra_repr()}"

    def generator_step(
        self,
        real: Tensor | int,
        *,
        condition: Condition = None,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
        augment: Augment | None = None,
    ) -> Tensor:
        """The encoder's loss and the generator's: the gradient of each reaches its own parameters alone."""
        self._told.check(condition, 0)
        draws = self._draws(real, key, generator, element_offset)
        assert isinstance(real, Tensor)
        return self._encoder_loss(real, draws) + self._decoder_loss(real, draws, augment)

    def encoder_step(
        self,
        real: Tensor,
        *,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
    ) -> Tensor:
        """The encoder's loss: KL divergence and the likelihood of features, in nats a datum."""
        return self._encoder_loss(real, self._draws(real, key, generator, element_offset))

    def decoder_step(
        self,
        real: Tensor,
        *,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
        augment: Augment | None = None,
    ) -> Tensor:
        """The generator's loss: the weighted likelihood of features, and what deceives the discriminator."""
        with torch.no_grad():
            draws = self._draws(real, key, generator, element_offset)
        return self._decoder_loss(real, draws, augment)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, *, averaged: bool = True) -> Tensor:
        """The generator's output at the mean of q(z | x), in the shape of `x`, in evaluation mode; no graph is kept."""
        _checks.tensor("x", x)
        sampler = self._sampler(averaged)
        with evaluating(self.encoder, sampler):
            return sampler(packed_moments("encoder", self.encoder, x).chunk(2, dim=1)[0])

    def _encoder_loss(self, real: Tensor, draws: _Draws) -> Tensor:
        with frozen(self.generator, self.discriminator):
            nll = self._feature_nll(real, self.generator(draws.posterior))
        return _ordered.mean(draws.kl) + nll

    def _decoder_loss(self, real: Tensor, draws: _Draws, augment: Augment | None) -> Tensor:
        check_augment(augment)
        reconstruction, made = self.generator(draws.posterior.detach()), self.generator(draws.prior)
        with frozen(self.discriminator):
            nll = self._feature_nll(real, reconstruction)
            fakes = torch.cat([self._judged(x, augment).logits for x in (reconstruction, made)])
            reals = (
                self._judged(real, augment).logits.repeat(2, *[1] * (fakes.ndim - 1))
                if self.loss == "relativistic"
                else None
            )
        loss = functional.gan_generator_loss(real=reals, fake=fakes, kind=self.loss)
        return self.gamma * nll + 2 * loss

    def _feature_nll(self, x: Tensor, other: Tensor) -> Tensor:
        with torch.no_grad():
            expected = self.discriminator.features(x)  # type: ignore[operator]
        found = self.discriminator.features(other)  # type: ignore[operator]
        if expected.shape != found.shape:
            raise ValueError(
                f"generator: expected data whose features have the shape {tuple(expected.shape)} of those of real, "
                f"got {tuple(found.shape)}"
            )
        return functional.gaussian_nll(expected, found, 2 * math.log(self.sigma), full=False, reduction="batchmean")

    def _fakes(self, real: Tensor, keys: Tensor, element_offset: int, condition: Condition) -> list[Tensor]:
        draws = self._drawn(real, keys, element_offset)
        return [self.generator(draws.posterior), self.generator(draws.prior)]

    def _discriminator_loss(self, real: Tensor, fakes: list[Tensor]) -> Tensor:
        """Means over each batch, added up."""
        fake = torch.cat(fakes)
        if self.loss == "relativistic":
            real = torch.cat([real, real])
        loss = functional.gan_discriminator_loss(
            real=real, fake=fake, kind=self.loss, reduction="sum", **self.discriminator_options
        )
        return loss * (2 / fake.numel())

    def _judged(self, x: Tensor, augment: Augment | None, condition: Condition = None) -> Judgement:
        x = x if augment is None else augment(x)
        logits = self.discriminator.classify(self.discriminator.features(x))  # type: ignore[operator]
        if isinstance(logits, (tuple, list)):
            raise TypeError("discriminator: expected logits, got two results: an auxiliary classifier is for a GAN")
        return Judgement(logits, None)

    def _draws(self, real: object, key: Tensor | None, generator: torch.Generator | None, offset: int) -> _Draws:
        self._check_real(real)
        assert isinstance(real, Tensor)
        return self._drawn(real, self._noise(key, generator, offset)[0], offset)

    def _drawn(self, real: Tensor, keys: Tensor, element_offset: int) -> _Draws:
        moments = packed_moments("encoder", self.encoder, real)
        z, kl = functional.gaussian_rsample_kl_packed(moments, 1, key=keys[3], element_offset=element_offset)
        return _Draws(z, kl, self._latents(len(real), keys[0], element_offset))
