"""A step of a VAE, and the averaged model that is evaluated."""

import copy
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from genkern import random
from genkern.cli.augmentation import augmented
from genkern.cli.data import Images
from genkern.cli.engine import Engine
from genkern.cli.errors import CommandError
from genkern.cli.sampling import drawn
from genkern.cli.trainer import Trainer
from genkern.cli.units import bits_per_dim
from genkern.cli.vae.settings import VAESettings, build_vae
from genkern.nn import ELBO, average_gradients

_ENCODER_NOISE = 0.1
_HELD_OUT_ROWS = 256
_MOST_HELD_OUT = 2000


class VAETrainer(Trainer[VAESettings]):
    """A VAE, its optimiser, and an exponential average of its parameters, which is the model that is evaluated.

    The average takes the place of a learning rate that falls.
    """

    family = "vae"
    settings_type = VAESettings
    figures = ("elbo", "reconstruction", "kl")
    held_out_figures = ("held_out_elbo", "held_out_reconstruction", "held_out_kl")
    best_by = "held_out_elbo"
    legend = "ELBO = log p(x|z) − KL, nats per image; held out: the averaged model on images it never saw"
    draws: ClassVar[tuple[str, ...]] = ("order", "augmentation", "encoder_noise", "latents", "held_out")
    draws += ("elbo", "log_likelihood", "samples", "aggregate_posterior", "parzen", "quality")

    def __init__(self, settings: VAESettings, images: Images, engine: Engine | None = None) -> None:
        super().__init__(settings, images, engine)
        if self.engine.count > 1 and settings.of_the_batch():
            raise CommandError(f"{settings.of_the_batch()}: expected one process, its loss is no mean over images")
        vae = build_vae(settings, images)
        self.average = self.engine.prepared(copy.deepcopy(vae).eval().requires_grad_(False))
        self.vae = self.engine.prepared(vae, vae.encoder, vae.decoder)
        self.optimizer = torch.optim.Adam(self.vae.parameters(), lr=settings.learning_rate, fused=True)

    def samples(self, num: int) -> Tensor:
        return drawn(self.average, num, self.key("samples"))

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
        self.optimizer.zero_grad()
        figures = torch.zeros(len(self.figures), dtype=torch.float64)
        first = rows.start
        for part in x.chunk(self.settings.accumulate):
            figures += self._accumulate(part, first, len(part) / len(x))
            first += len(part)
        average_gradients(self.vae.parameters())
        scaler = self.engine.scaler
        scaler.unscale_(self.optimizer)
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.vae.parameters(), self.settings.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        scaler.step(self.optimizer)
        scaler.update()
        self._update_average()
        return figures

    def _accumulate(self, x: Tensor, first: int, share: float) -> Tensor:
        """Add the gradients of a part of the batch, as it counts in the whole; its figures, likewise."""
        noise: dict[str, Any] = {
            "encoder_input": self._noisy(x, first),
            "key": self.key_of_step("latents"),
            "element_offset": first * math.prod(self.vae.latent_shape or ()),
        }
        with self.engine.autocast():
            if isinstance(self.vae.objective, ELBO):
                terms = self.vae.elbo(x, **noise)
                loss = self.vae.objective(terms.reconstruction, terms.kl)
            else:
                loss = self.vae.loss(x, **noise)
                with torch.no_grad():
                    terms = self.vae.elbo(x, **noise)
        self.engine.scaler.scale(loss if share == 1 else loss * share).backward()
        return share * torch.stack(list(terms)).detach().cpu().double().mean(dim=1)

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
            terms = self.average.elbo(part, key=self.key("held_out"), element_offset=first * size)
            sums += torch.stack(list(terms)).cpu().double().sum(dim=1)
        return (sums / len(held_out)).tolist()

    def _parts(self) -> dict[str, Any]:
        return {"model": self.vae, "average": self.average, "adam": self.optimizer}
