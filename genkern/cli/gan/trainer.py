"""A step of a GAN, and what its discriminator thinks of images it has seen and has not."""

from collections.abc import Callable, Sequence
from itertools import count
from math import prod
from typing import Any

import torch
from torch import Tensor

from genkern import random
from genkern.cli.augmentation import mirrored, smoothly_augmented
from genkern.cli.data import Images
from genkern.cli.engine import Engine
from genkern.cli.gan.settings import GANSettings, build_gan
from genkern.cli.trainer import Trainer
from genkern.nn import GAN, AdversarialSteps, average_gradients

_BETAS = (0.0, 0.99)
_MOST_JUDGED = 256


class GANTrainer(Trainer[GANSettings]):
    """A GAN and its two optimisers.

    Real and generated photographs alike are moved a little before they are judged: the discriminator cannot learn
    eighty of them by heart, and what it teaches is not to move them (Karras et al. 2020). Mirroring is of real ones
    alone: were all mirrored at random, a generator of faces that look to one side would pass.
    """

    family = "gan"
    settings_type = GANSettings
    figures = ("discriminator_loss", "generator_loss", "penalty", "real_logit", "fake_logit")
    held_out_figures = ("train_logit", "held_out_logit", "generated_logit")
    legend = (
        "D, G: losses, D with its penalty; logits: what D gives on average to generated, held-out and training images"
        " as they are; seen: how far held-out ones are from training ones towards generated, 0 to 1"
    )
    draws = ("order", "mirroring", "augmentation", "latents", "judged", "quality", "samples", "interpolation")

    def __init__(self, settings: GANSettings, images: Images, engine: Engine | None = None) -> None:
        super().__init__(settings, images, engine)
        gan = build_gan(settings, images)
        # torch takes no second derivative of what is compiled, and a penalty asks for one of the discriminator.
        compiled = (gan.generator,) if gan.penalty else (gan.generator, gan.discriminator)
        self.gan = self.engine.prepared(gan, *compiled)
        self.steps = AdversarialSteps(
            _Autocast(self.gan, self.engine),
            _adam(self.gan.generator, settings.learning_rate),
            _adam(self.gan.discriminator, settings.learning_rate),
            n_critic=settings.n_critic,
            reduce_gradients=self._reduce_gradients,
            scaler=self.engine.scaler,
        )

    @property
    def model(self) -> GAN:
        return self.gan

    def line(self) -> str:
        value = self.records()[-1]
        generated, held_out, train = (value[f"{name}_logit"] for name in ("generated", "held_out", "train"))
        return (
            f"step {value['step']:6.0f}  D {value['discriminator_loss']:7.3f}  G {value['generator_loss']:7.3f}"
            f"  logits: generated {generated:+7.2f}  held out {held_out:+7.2f}  training {train:+7.2f}"
            f"  seen {_seen(generated, held_out, train):5.2f}"
        )

    def _step(self, x: Tensor) -> Tensor:
        if self.images.augment:
            x = mirrored(x, self.key_of_step("mirroring"), self.batches.size, self.batches.rows)
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate()
        terms, generator_loss = self.steps(
            x,
            condition=self.batches.labels(self.step),
            key=self.key_of_step("latents"),
            element_offset=self.batches.rows.start * prod(self.gan.latent_shape),
            augment=self._augmentation() if self.images.augment else None,
        )
        # A generator's step stands for all those of the discriminator since its last one.
        of_generator = terms.loss.new_zeros(()) if generator_loss is None else generator_loss * self.settings.n_critic
        logits = (terms.real_logits.float().mean(), terms.fake_logits.float().mean())
        figures = (terms.loss, of_generator, terms.penalty, *logits)
        return torch.stack([figure.detach().float() for figure in figures]).cpu().double()

    def _reduce_gradients(self, params: list[Tensor]) -> None:
        average_gradients(params)
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(params, self.settings.clip)

    def _augmentation(self) -> Callable[[Tensor], Tensor]:
        """The augmentation of this step, which treats each batch that is to be judged in its own way."""
        key, size, rows, calls = self.key_of_step("augmentation"), self.batches.size, self.batches.rows, count()
        return lambda x: smoothly_augmented(x, random.fold_in(key, next(calls)), size, rows)

    @torch.no_grad()
    def _held_out(self) -> Sequence[float]:
        few = slice(_MOST_JUDGED)
        train, held_out = ((part[few], part.labels(few)) for part in (self.images.train, self.images.held_out))
        generated = self.samples(len(held_out[0]), "judged", held_out[1])
        return [self._judged(*given) for given in (train, held_out, (generated, held_out[1]))]

    def _judged(self, x: Tensor, labels: Tensor | None) -> float:
        told = {"condition": labels} if self.gan.discriminator.takes_condition else {}
        said = self.gan.discriminator(x, **told)
        return (said[0] if isinstance(said, tuple) else said).cpu().double().mean().item()

    def _parts(self) -> dict[str, Any]:
        generator, discriminator = self._optimizers()
        return {"gan": self.gan, "generator_adam": generator, "discriminator_adam": discriminator}

    def _optimizers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        return self.steps.generator_optimizer, self.steps.discriminator_optimizer

    def restore(self, tensors: dict[str, Tensor], metadata: dict[str, Any], where: str, **how: bool) -> None:
        super().restore(tensors, metadata, where, **how)
        self.steps.steps = self.step


class _Autocast(torch.nn.Module):
    """A GAN whose steps, not their gradients, are computed in the run's precision."""

    def __init__(self, module: GAN, engine: Engine) -> None:
        super().__init__()
        self.module, self.engine = module, engine

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self.engine.autocast():
            return self.module(*args, **kwargs)


def _adam(module: torch.nn.Module, learning_rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=learning_rate, betas=_BETAS, fused=True)


def _seen(generated: float, held_out: float, train: float) -> float:
    """Karras et al. 2020, equation 1: 0 where new images are as real as those it has seen, 1 where they are as fake
    as generated ones.
    """
    return (train - held_out) / (train - generated) if train != generated else 0.0
