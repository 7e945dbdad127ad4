"""A step of a VAE, and the averaged model that is evaluated."""

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from genkern import random
from genkern.cli.augmentation import augmented
from genkern.cli.data import Images
from genkern.cli.data.pixels import binary
from genkern.cli.engine import Engine
from genkern.cli.errors import CommandError
from genkern.cli.sharding import groups
from genkern.cli.trainer import Trainer
from genkern.cli.units import bits_per_dim
from genkern.cli.vae.settings import VAESettings, build_vae
from genkern.nn import ELBO, VAE, HierarchicalVAE, average_gradients, clip_or_skip

_ENCODER_NOISE = 0.1
_HELD_OUT_ROWS = 256
_MOST_HELD_OUT = 2000


class VAETrainer(Trainer[VAESettings]):
    """A VAE, its optimiser, and an exponential average of its parameters, which is the model that is evaluated.

    The average takes the place of a learning rate that falls.
    """

    family = "vae"
    settings_type = VAESettings
    figures: tuple[str, ...] = ("elbo", "reconstruction", "kl")
    held_out_figures = ("held_out_elbo", "held_out_reconstruction", "held_out_kl")
    best_by = "held_out_elbo"
    legend = "ELBO = log p(x|z) − KL, nats per image; held out: the averaged model on images it never saw"
    draws: ClassVar[tuple[str, ...]] = ("order", "augmentation", "encoder_noise", "latents", "held_out")
    draws += ("elbo", "log_likelihood", "samples", "aggregate_posterior", "parzen", "quality")
    draws += ("binarization", "held_out_binarization", "train_binarization")

    def __init__(self, settings: VAESettings, images: Images, engine: Engine | None = None) -> None:
        if settings.model == "hierarchical":
            count = sum(settings.levels_of(images.shape))
            self.figures = (*self.figures, *(f"kl_{level}" for level in range(1, count + 1)))
        super().__init__(settings, images, engine)
        if self.engine.count > 1 and settings.of_the_batch():
            raise CommandError(f"{settings.of_the_batch()}: expected one process, its loss is no mean over images")
        if settings.binarize:  # once, for what measures; a step draws anew
            train = self.images.train.binarized(self.key("train_binarization"))
            held_out = self.images.held_out.binarized(self.key("held_out_binarization"))
            self.images = dataclasses.replace(self.images, train=train, held_out=held_out)
        vae = build_vae(settings, images)
        self.average = self.engine.prepared(copy.deepcopy(vae).eval().requires_grad_(False))
        self.vae = self.engine.prepared(vae, vae.encoder, vae.decoder)
        self.optimizer = torch.optim.Adam(groups(self.vae.parameters()), lr=settings.learning_rate, fused=True)

    @property
    def model(self) -> VAE | HierarchicalVAE:
        return self.average

    def line(self) -> str:
        value, dims = self.records()[-1], self.images.train.dims
        return (
            f"step {value['step']:6.0f}"
            f"  ELBO {value['elbo']:8.1f} = {value['reconstruction']:8.1f} − {value['kl']:5.1f}"
            f"  ({bits_per_dim(value['elbo'], dims):+.3f} bits/dim)"
            f"  held out {value['held_out_elbo']:8.1f} = {value['held_out_reconstruction']:8.1f}"
            f" − {value['held_out_kl']:5.1f}"
            f"  ({bits_per_dim(value['held_out_elbo'], dims):+.3f} bits/dim)"
        )

    def _step(self, x: Tensor) -> Tensor:
        rows = self.batches.rows
        if self.images.augment:
            x = augmented(x, self.key_of_step("augmentation"), self.batches.size, rows)
        if self.settings.binarize:
            key, offset = self.key_of_step("binarization"), rows.start * self.images.train.dims
            x = binary(x, random.uniform(key, x.shape, element_offset=offset, device=x.device))
        self.optimizer.zero_grad()
        figures = torch.zeros(len(self.figures), dtype=torch.float64)
        first, labels = rows.start, self.batches.labels(self.step)
        for part in x.chunk(self.settings.accumulate):
            here = slice(first - rows.start, first - rows.start + len(part))
            figures += self._accumulate(part, None if labels is None else labels[here], first, len(part) / len(x))
            first += len(part)
        average_gradients(self.vae.parameters())
        scaler, skip = self.engine.scaler, self.settings.skip
        scaler.unscale_(self.optimizer)
        taken = True
        if skip is not None or (self.settings.clip is not None and self.engine.shards):
            taken = clip_or_skip(self.vae.parameters(), clip=self.settings.clip, skip=skip) or skip is None
        elif self.settings.clip is not None:  # which waits for no device
            torch.nn.utils.clip_grad_norm_(self.vae.parameters(), self.settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        if taken:
            scaler.step(self.optimizer)
            self._update_average()
        scaler.update()
        return figures

    def _accumulate(self, x: Tensor, labels: Tensor | None, first: int, share: float) -> Tensor:
        """Add the gradients of a part of the batch, as it counts in the whole; its figures, likewise."""
        noise: dict[str, Any] = {
            "condition": labels,
            "encoder_input": self._noisy(x, first),
            "key": self.key_of_step("latents"),
            "element_offset": first * math.prod(self.vae.latent_shape or ()),
        }
        with self.engine.autocast():
            vae, objective = self.vae, self.vae.objective
            if isinstance(vae, HierarchicalVAE):
                terms: Any = vae.elbo(x, **noise)
                loss = vae.objective(terms.reconstruction, terms.kl_levels, vae.groups, vae.sizes)
            elif isinstance(objective, ELBO):
                terms = vae.elbo(x, **noise)
                loss = objective(terms.reconstruction, terms.kl)
            else:
                loss = vae.loss(x, **noise)
                with torch.no_grad():
                    terms = vae.elbo(x, **noise)
        self.engine.scaler.scale(loss if share == 1 else loss * share).backward()
        return share * torch.cat([part.detach().view(len(x), -1).cpu().double().mean(dim=0) for part in terms])

    def _noisy(self, x: Tensor, first: int) -> Tensor:
        """The encoder's input: it must not tell the few training images apart by a pixel."""
        if not self.images.augment:
            return x
        key = self.key_of_step("encoder_noise")
        return x + _ENCODER_NOISE * random.normal(key, x.shape, element_offset=first * x[0].numel(), device=x.device)

    @torch.no_grad()
    def _update_average(self) -> None:
        """A plain mean at first, so that the random start is forgotten."""
        weight = max(1 - self.settings.ema, 9 / (self.step + 10))
        averaged, current = self.average.state_dict().values(), self.vae.state_dict().values()
        for target, source in zip(averaged, current, strict=True):
            if target.is_floating_point():
                target.lerp_(source, weight)
            else:
                target.copy_(source)

    @torch.no_grad()
    def _held_out(self) -> Sequence[float]:
        size, sums = math.prod(self.average.latent_shape or ()), torch.zeros(3, dtype=torch.float64)
        held_out = self.images.held_out.sample(_MOST_HELD_OUT)
        for first, part in held_out.parts(_HELD_OUT_ROWS):
            labels = held_out.labels(slice(first, first + len(part)))
            noise = {"key": self.key("held_out"), "element_offset": first * size}
            terms: Any = self.average.elbo(part, condition=labels, **noise)
            sums += torch.stack(terms[:3]).cpu().double().sum(dim=1)
        return (sums / len(held_out)).tolist()

    def _parts(self) -> dict[str, Any]:
        return {"model": self.vae, "average": self.average, "adam": self.optimizer}
