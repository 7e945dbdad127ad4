"""The generative adversarial network: a generator and a discriminator, joined by fused losses and penalties."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as torch_functional

from genkern import _checks, functional, random
from genkern.functional import _ordered
from genkern.functional.gan import KINDS, check_discriminator_options
from genkern.nn._condition import Condition, Conditioned, check_labels, out_of_range
from genkern.nn._inputs import check_augment, check_input, floating_like, one_key
from genkern.nn._modes import evaluating, frozen
from genkern.nn.priors import StandardNormalPrior

__all__ = ["GAN", "GANTerms"]

Augment = Callable[[Tensor], Tensor]

PENALTIES = {"r1": 5.0, "r2": 5.0, "gp": 10.0, "dragan": 10.0}  # and the weights that the papers give them


_NONE_IGNORED = -(2**31)  # the label that torch would pass over without a word


class GANTerms(NamedTuple):
    """The results of a discriminator's step: the loss to be minimised, the penalty in it, and the logits.

    Attributes
    ----------
    loss : Tensor
        0-dim, with a graph; the others have none.
    penalty : Tensor
        0-dim: the part of the loss that bounds the slope, weighted.
    real_logits, fake_logits : Tensor
        What the discriminator said of real and of generated data.

    See Also
    --------
    GAN.discriminator_step : gives them

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GAN, ConvDiscriminator, ConvGenerator
    >>> gan = GAN(ConvGenerator((1, 8, 8), 4, width=8), ConvDiscriminator((1, 8, 8), width=8))
    >>> terms = gan.discriminator_step(torch.rand(5, 1, 8, 8))
    >>> terms.loss.shape, terms.real_logits.shape
    (torch.Size([]), torch.Size([5]))
    """

    loss: Tensor
    penalty: Tensor
    real_logits: Tensor
    fake_logits: Tensor


class Judgement(NamedTuple):
    """The logits that the discriminator gives a batch, and the loss of its classes, where it names classes."""

    logits: Tensor
    class_loss: Tensor | None


class GAN(Conditioned):
    """Generative adversarial network (Goodfellow et al. 2014), of any generator and discriminator.

    Parameters
    ----------
    generator : Module
        `z` ``[B, *latent_shape]``, from N(0, I), → data ``[B, ...]``.
    discriminator : Module
        Data → logits of any shape: ``[B]``, ``[B, 1]``, one a patch; for Wasserstein losses, the critic. Or two
        tensors, those logits and logits of classes ``[B, num_classes]``: an auxiliary classifier.
    loss : str
        Kind of `genkern.gan_discriminator_loss` and `genkern.gan_generator_loss`: ``"minimax"``,
        ``"non_saturating"``, ``"hinge"``, ``"lsgan"``, ``"wgan"``, ``"relativistic"``.
    penalty : {None, "r1", "r2", "gp", "dragan"}
        Penalty of the discriminator's slope by its input: the squared norm at real or at generated data (Mescheder et
        al. 2018); the norm's distance from 1 between the two (Gulrajani et al. 2017) or around real data (Kodali et al.
        2017).
    penalty_weight : float, optional
        Its factor. Default: 5 for "r1" and "r2" (γ/2, γ = 10), 10 for "gp" and "dragan".
    penalty_interval : int
        k: the penalty is part of every k-th discriminator step, beginning with the first, and counts k-fold there (lazy
        regularisation, Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN").
    label_smoothing, hinge_scale
        As `genkern.gan_discriminator_loss`.
    class_weight : float
        Weight of the cross-entropy of an auxiliary classifier.
    latent_shape : sequence of int, optional
        Shape of one latent; ``generator.latent_shape`` where the generator has one.
    ema_decay : float, optional
        Decay of the averaged generator, `average`; None: there is none.

    Attributes
    ----------
    average : Module or None
        The generator with averaged parameters, in evaluation mode, from which `sample` draws.

    See Also
    --------
    AdversarialSteps : trains one
    ConvGenerator
    ConvDiscriminator
    VAEGAN : with an encoder besides

    Notes
    -----
    Methods that draw take ``key=`` or ``generator=`` (torch's default generator if neither is given) and
    ``element_offset=``: a data-parallel rank whose first datum is row r of the global batch passes r × latent size and
    draws exactly its part of the global noise. Losses are float32 or wider, under autocast too.

    `augment` is applied to everything that the discriminator sees, real or generated (Karras et al. 2020, "Training
    generative adversarial networks with limited data"; Zhao et al. 2020): a differentiable function of a batch.
    Penalties are of the slope by data as they were before it.

    **Conditions.** The steps and `sample` take ``condition=``: labels, vectors, images, or a tuple, list or mapping of
    such, one row a datum. Those of the two modules whose ``forward`` has a parameter of that name are given it, as
    `VAE` says, the discriminator the same one for real and for generated data (Mirza & Osindero 2014; by
    projection: Miyato & Koyama 2018). With an auxiliary classifier the condition is labels ``[B]``: the cross-entropy
    of real and of generated data is part of the discriminator's loss, that of generated data of the generator's (Odena
    et al. 2017).

    `AdversarialSteps` takes the steps with two optimisers. The count of steps is in the ``state_dict``, so a
    resumed run is the same.

    Examples
    --------
    >>> import torch, genkern as gk
    >>> from genkern.nn import ConvDiscriminator, ConvGenerator, GAN
    >>> gan = GAN(ConvGenerator((1, 8, 8), 4, width=8), ConvDiscriminator((1, 8, 8), width=8), penalty="r1")
    >>> terms = gan.discriminator_step(torch.rand(5, 1, 8, 8), key=gk.random.key(0))
    >>> terms.loss.backward()
    >>> gan.generator_step(5, key=gk.random.key(1)).backward()
    >>> gan.sample(3, key=gk.random.key(2)).shape
    torch.Size([3, 1, 8, 8])
    """

    _ROLES: ClassVar[tuple[str, ...]] = ("generator", "discriminator")
    _STEP_NAMES: tuple[str, ...] = ("discriminator", "generator")

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        loss: str = "non_saturating",
        penalty: str | None = None,
        penalty_weight: float | None = None,
        penalty_interval: int = 1,
        label_smoothing: float = 0.0,
        hinge_scale: float = 1.0,
        class_weight: float = 1.0,
        latent_shape: Sequence[int] | None = None,
        ema_decay: float | None = 0.999,
    ) -> None:
        super().__init__()
        _checks.instance("generator", generator, nn.Module, "a Module")
        _checks.instance("discriminator", discriminator, nn.Module, "a Module")
        _checks.choice("loss", loss, KINDS)
        check_discriminator_options(loss, label_smoothing, hinge_scale)
        if penalty is not None:
            _checks.choice("penalty", penalty, tuple(PENALTIES))
        penalty_weight = _checks.number("penalty_weight", penalty_weight, optional=True, minimum=0)
        penalty_interval = _checks.positive("penalty_interval", penalty_interval)
        class_weight = _checks.number("class_weight", class_weight, minimum=0)
        if ema_decay is not None:
            ema_decay = _checks.fraction("ema_decay", ema_decay)
        shape = getattr(generator, "latent_shape", None) if latent_shape is None else latent_shape
        if shape is None:
            raise ValueError(
                "latent_shape: expected the shape of one latent, given to GAN or known to the generator, got None"
            )
        shape = _checks.sizes("latent_shape", shape)
        self.generator = generator
        self.discriminator = discriminator
        self.average: nn.Module | None = None
        if ema_decay is not None:
            self.average = _copied(generator).requires_grad_(False).eval()
        self.loss = loss
        self.penalty = penalty
        self.penalty_weight = PENALTIES.get(penalty or "", 0.0) if penalty_weight is None else penalty_weight
        self.penalty_interval = penalty_interval
        self.discriminator_options: dict[str, Any] = {"label_smoothing": label_smoothing, "hinge_scale": hinge_scale}
        self.class_weight = class_weight
        self.latent_shape = shape
        self.ema_decay = ema_decay
        self._steps = 0  # of the discriminator, where penalties are lazy
        self._updates = 0  # of the average

    def forward(self, real: Tensor | int, *, step: str = "discriminator", **options: Any) -> Any:
        """A step by its name, so that wrappers that call a module (DistributedDataParallel) train it."""
        _checks.choice("step", step, self._STEP_NAMES)
        return getattr(self, f"{step}_step")(real, **options)

    def extra_repr(self) -> str:
        options = {
            "loss": self.loss,
            "penalty": self.penalty,
            "penalty_weight": self.penalty_weight,
            "penalty_interval": self.penalty_interval,
            **self.discriminator_options,
            "class_weight": self.class_weight,
            "latent_shape": self.latent_shape,
            "ema_decay": self.ema_decay,
        }
        return ", ".join(f"{name}={value!r}" for name, value in options.items())

    def train(self, mode: bool = True) -> GAN:
        super().train(mode)
        if self.average is not None:
            self.average.eval()  # which would move the statistics that it was given
        return self

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self._steps, self._updates], device=floating_like(self.generator).device)

    def set_extra_state(self, state: Tensor) -> None:
        self._steps, self._updates = state.tolist()

    def discriminator_step(
        self,
        real: Tensor,
        *,
        condition: Condition = None,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
        augment: Augment | None = None,
        penalized: bool | None = None,
    ) -> GANTerms:
        """The discriminator's loss for a batch, with as many generated data, and what it is made of.

        Its gradient reaches the parameters of the discriminator alone. `penalized` says whether the penalty is due, in
        place of the count of steps, as a compiled step needs it.
        """
        self._check_real(real)
        self._told.check(condition, real.shape[0], unused=True)  # labels for a classifier alone
        check_augment(augment)
        if penalized is not None:
            penalized = _checks.boolean("penalized", penalized)
        due = self._due() if penalized is None else penalized and self.penalty is not None
        keys, first = self._noise(key, generator, element_offset)
        with torch.no_grad():
            fakes = self._fakes(real, keys, element_offset, condition)
        if due:
            of_real, of_fakes, penalty = self._penalized(real, fakes, keys, first, augment, condition)
        else:
            of_real = self._judged(real, augment, condition)
            of_fakes = [self._judged(fake, augment, condition) for fake in fakes]
        real_logits, fake_logits = of_real.logits, [of_fake.logits for of_fake in of_fakes]
        loss = self._with_classes(self._discriminator_loss(real_logits, fake_logits), of_real, *of_fakes)
        penalty = penalty if due else torch.zeros_like(loss)
        return GANTerms(
            loss + penalty if due else loss, penalty.detach(), real_logits.detach(), torch.cat(fake_logits).detach()
        )

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
        """The generator's loss for as many generated data as `real` has, or is; a relativistic loss reads the data.

        Its gradient reaches the parameters of the generator alone.
        """
        if isinstance(real, Tensor):
            self._check_real(real)
        else:
            real = _checks.positive("real", real)
            if self.loss == "relativistic":
                raise ValueError(f"real: expected a Tensor for loss 'relativistic', got {real}")
        num = len(real) if isinstance(real, Tensor) else real
        self._told.check(condition, num, unused=True)
        check_augment(augment)
        keys, _ = self._noise(key, generator, element_offset)
        fake = self._generated(num, keys, element_offset, condition)
        with frozen(self.discriminator):
            of_fake = self._judged(fake, augment, condition)
            paired = self.loss == "relativistic" and isinstance(real, Tensor)
            real_logits = self._judged(real, augment, condition).logits if paired else None  # type: ignore[arg-type]
        loss = functional.gan_generator_loss(real=real_logits, fake=of_fake.logits, kind=self.loss)
        return self._with_classes(loss, of_fake)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        condition: Condition = None,
        key: Tensor | None = None,
        generator: torch.Generator | None = None,
        element_offset: int = 0,
        temperature: float = 1.0,
        averaged: bool = True,
    ) -> Tensor:
        """`num` new data ``[num, ...]`` of z ~ N(0, temperature²·I), as `condition` ``[num, ...]``; no graph is kept.

        The averaged generator makes them, if there is one and `averaged` does not say otherwise. Either computes in
        evaluation mode, so that a datum does not depend on its neighbours and no statistics move; modes are left alone.
        """
        num = _checks.integer("num", num, minimum=0)
        self._told.check(condition, num)
        keys, _ = self._noise(key, generator, element_offset)
        z = self._latents(num, keys[0], element_offset, temperature)
        sampler = self._sampler(averaged)
        with evaluating(sampler):
            return sampler(z, **self._told.options("generator", condition))

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the averaged parameters towards the generator's, after its step; buffers are copied.

        The decay of update n = 0, 1, … is min(`ema_decay`, (1 + n) / (10 + n)), as in TensorFlow, so that the first
        weights, which are random, do not stay in the average of a short run. A weight that is not a number stays in the
        average, as it does in the generator, whose optimiser cannot bring it back either: a run goes on from its last
        checkpoint. The `scaler` of `AdversarialSteps` keeps gradients that are not finite out of both.
        """
        if self.average is None or self.ema_decay is None:
            return
        decay = min(self.ema_decay, (1 + self._updates) / (10 + self._updates))
        functional.ema_update_(self.average.parameters(), self.generator.parameters(), decay)
        for kept, buffer in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(buffer)
        self._updates += 1

    # What steps are made of; VAEGAN has its own of some.

    def _fakes(self, real: Tensor, keys: Tensor, element_offset: int, condition: Condition) -> list[Tensor]:
        """Batches of generated data, each as large as that of real data."""
        return [self._generated(len(real), keys, element_offset, condition)]

    def _generated(self, num: int, keys: Tensor, element_offset: int, condition: Condition) -> Tensor:
        z = self._latents(num, keys[0], element_offset)
        return self.generator(z, **self._told.options("generator", condition))

    def _discriminator_loss(self, real: Tensor, fakes: list[Tensor]) -> Tensor:
        (fake,) = fakes
        return functional.gan_discriminator_loss(real=real, fake=fake, kind=self.loss, **self.discriminator_options)

    def _judged(self, x: Tensor, augment: Augment | None, condition: Condition) -> Judgement:
        x = x if augment is None else augment(x)
        said = self.discriminator(x, **self._told.options("discriminator", condition))
        if not isinstance(said, (tuple, list)):
            if condition is not None and not self._told.takers:
                self._told.check(condition, x.shape[0])
            return Judgement(said, None)
        logits, classes = said
        what = "labels (B,), which an auxiliary classifier is trained by"
        if not isinstance(condition, Tensor) or condition.is_floating_point():
            raise TypeError(f"condition: expected {what}, got {_checks.type_name(condition)}")
        check_labels(condition, what)
        classes = classes.to(_checks.compute_dtype(classes))
        try:
            class_loss = torch_functional.cross_entropy(classes, condition.long(), ignore_index=_NONE_IGNORED)
        except IndexError as error:
            raise ValueError(out_of_range(condition, classes.shape[1])) from error
        return Judgement(logits, class_loss)

    def _with_classes(self, loss: Tensor, *of: Judgement) -> Tensor:
        for judgement in of:
            if judgement.class_loss is not None:
                loss = loss + self.class_weight * judgement.class_loss
        return loss

    def _due(self) -> bool:
        if self.penalty is None or self.penalty_interval == 1:
            return self.penalty is not None
        self._steps += 1
        return (self._steps - 1) % self.penalty_interval == 0

    @torch.compiler.disable  # torch has no second derivatives of what it compiled
    def _penalized(
        self,
        real: Tensor,
        fakes: list[Tensor],
        keys: Tensor,
        first: int,
        augment: Augment | None,
        condition: Condition,
    ) -> tuple[Judgement, list[Judgement], Tensor]:
        """The judgements of real and of generated data, and the weighted penalty, with graphs of what made them."""
        if self.penalty == "r1":
            of_real, slope = self._slope(real, augment, condition)
        else:
            of_real = self._judged(real, augment, condition)
        of_fakes = [self._judged(fake, augment, condition) for fake in fakes[:-1]]
        if self.penalty == "r2":
            last, slope = self._slope(fakes[-1], augment, condition)
        else:
            last = self._judged(fakes[-1], augment, condition)
        if self.penalty in ("r1", "r2"):
            penalty = functional.zero_centered_penalty(slope)
        else:
            other = fakes[-1] if self.penalty == "gp" else _perturbed(real, keys[2], first)
            points = functional.interpolate(real.detach(), other, key=keys[1], element_offset=first)
            penalty = functional.gradient_norm_penalty(self._slope(points, augment, condition)[1])
        return of_real, [*of_fakes, last], self.penalty_weight * self.penalty_interval * penalty

    def _slope(self, x: Tensor, augment: Augment | None, condition: Condition) -> tuple[Judgement, Tensor]:
        """The judgement of `x`, and the gradient of the logits' sum by it, itself differentiable."""
        x = x.detach().requires_grad_()
        of_x = self._judged(x, augment, condition)
        (slope,) = torch.autograd.grad(of_x.logits.sum(), x, create_graph=True)
        return of_x, slope

    def _noise(self, key: Tensor | None, generator: Any, element_offset: int) -> tuple[Tensor, int]:
        """Keys for the uses of noise in one call, and the row of the global batch that is first here."""
        element_offset = _checks.integer("element_offset", element_offset, minimum=0)
        keys = random.split(one_key(floating_like(self.generator).device, key=key, generator=generator), 4)
        return keys, element_offset // max(math.prod(self.latent_shape), 1)

    def _latents(self, num: int, key: Tensor, element_offset: int, temperature: float = 1.0) -> Tensor:
        return StandardNormalPrior().sample(
            (num, *self.latent_shape),
            floating_like(self.generator),
            key=key,
            element_offset=element_offset,
            temperature=temperature,
        )

    def _sampler(self, averaged: bool) -> nn.Module:
        averaged = _checks.boolean("averaged", averaged)
        return self.average if averaged and self.average is not None else self.generator

    def _check_real(self, real: object) -> None:
        _checks.tensor("real", real)
        assert isinstance(real, Tensor)
        shape = getattr(self.discriminator, "image_shape", None)
        if shape is not None:
            check_input("real", real, shape, self.discriminator)
        elif real.ndim == 0:
            raise ValueError("real: expected shape (B, ...), got ()")


def _copied(generator: nn.Module) -> nn.Module:
    """A deep copy, also of a module with ``torch.nn.utils.weight_norm``, whose hooks leave a graph behind."""
    made = [
        value
        for module in generator.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    try:
        return copy.deepcopy(generator, {id(value): value.detach().clone() for value in made})
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise TypeError(
            "generator: expected a Module that copy.deepcopy copies, for its average, or ema_decay=None, got "
            f"{_checks.type_name(generator)}: {error}"
        ) from error


def _perturbed(real: Tensor, key: Tensor, first: int) -> Tensor:
    """real + ½ σ u with the batch's σ and u uniform in [0, 1): as the authors of DRAGAN do it."""
    real = real.detach()
    deviations = real.to(_checks.compute_dtype(real))
    deviations = deviations - _ordered.mean(deviations)
    sigma = (_ordered.total(deviations.square()) / (real.numel() - 1)).sqrt().to(real.dtype)
    noise = random.uniform(
        key, real.shape, dtype=real.dtype, element_offset=first * math.prod(real.shape[1:]), device=real.device
    )
    return real + 0.5 * sigma * noise
