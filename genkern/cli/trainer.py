"""Training as a pure function of (settings, data, step): what makes a resumed run equal to an uninterrupted one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as torch_functional

from genkern import random
from genkern.cli.data import Images
from genkern.cli.errors import CommandError
from genkern.cli.settings import Settings, build_vae

__all__ = ["HISTORY", "STREAMS", "Trainer"]

HISTORY = ("step", "elbo", "reconstruction", "kl", "held_out_elbo", "held_out_reconstruction", "held_out_kl")
"""Columns of the history: training figures are means over an interval, held-out ones are of the averaged model."""

STREAMS = 5
"""Keys that training takes from the seed; later ones are free for evaluation and pictures."""

_WARMUP_STEPS = 100
_AVERAGE_DECAY = 0.995
# Of photographs. A hundred faces are few: without these the held-out bound falls as soon as training's is good.
_SHIFT = 0.12
_ZOOM = 0.06
_BRIGHTNESS = 0.05
_CONTRAST = 0.08
_ENCODER_NOISE = 0.1


class Trainer:
    """A VAE, its optimiser, and an exponential average of its parameters, which is the model that is evaluated.

    The learning rate is constant after a short warm-up and the average takes the place of a decay, so nothing depends
    on how long the run is going to be: any run is the beginning of a longer one.
    """

    def __init__(self, settings: Settings, images: Images) -> None:
        self.settings = settings
        self.images = images
        self.vae = build_vae(settings, images)
        self.average = copy.deepcopy(self.vae).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.vae.parameters(), lr=settings.learning_rate, fused=True)
        self.step = 0
        self.history: list[tuple[float, ...]] = []
        streams = random.split(random.key(settings.seed), STREAMS)
        self._order_key, self._augment_key, self._noise_key, self._latent_key, self._held_out_key = streams
        self._order: tuple[int, Tensor] | None = None
        self._sums = torch.zeros(3, dtype=torch.float64)

    def advance(self) -> bool:
        """One step; True at the end of an interval, when a line of history has been added."""
        x = self._augmented(self._batch())
        terms = self.vae.elbo(x, encoder_input=self._noisy(x), key=random.fold_in(self._latent_key, self.step))
        loss = self.vae.objective(terms.reconstruction, terms.kl)
        self.optimizer.zero_grad()
        loss.backward()
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * min(1.0, (self.step + 1) / _WARMUP_STEPS)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        self._sums += torch.stack([term.detach().double().mean() for term in terms])
        if self.step % self.settings.interval:
            return False
        self._close_interval()
        return True

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that :meth:`restore` needs, as tensors and metadata."""
        tensors = {f"model.{name}": value for name, value in self.vae.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": value for name, value in slots.items()}
        tensors["history"] = torch.tensor(self.history, dtype=torch.float64).view(-1, len(HISTORY))
        tensors["interval_sums"] = self._sums
        metadata = {"settings": self.settings.to_dict(), "step": self.step, "data": self.images.fingerprint()}
        return tensors, metadata

    def restore(self, tensors: dict[str, Tensor], metadata: dict[str, Any], where: str) -> None:
        """Continue from :meth:`state`; CommandError where it is that of another run."""
        self.settings.require_same(metadata.get("settings", {}), where)
        if metadata.get("data") != self.images.fingerprint():
            raise CommandError(f"{where}: the run there was made with other images; give another --out")
        try:
            self.vae.load_state_dict(_with_prefix(tensors, "model."))
            self.average.load_state_dict(_with_prefix(tensors, "average."))
            self._restore_optimizer(_with_prefix(tensors, "adam."))
            self.history = [tuple(line) for line in tensors["history"].tolist()]
            self._sums = tensors["interval_sums"].clone()
            self.step = int(metadata["step"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise CommandError(
                f"{where}: the checkpoint does not fit the model ({str(error).splitlines()[0]})"
            ) from error

    def _batch(self) -> Tensor:
        """The next `batch_size` images of an endless row of epochs, each in an order of its own."""
        images, size = self.images.train, self.settings.batch_size
        first = self.step * size
        rows = [self._epoch(at // len(images))[at % len(images)] for at in range(first, first + size)]
        return images[torch.stack(rows)]

    def _epoch(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            draws = random.uniform(random.fold_in(self._order_key, epoch), (len(self.images.train),))
            self._order = epoch, draws.argsort(stable=True)
        return self._order[1]

    def _augmented(self, x: Tensor) -> Tensor:
        """Mirrored, moved a little, nearer or farther, brighter or darker: each is as good a photograph."""
        if not self.images.augment:
            return x
        u = random.uniform(random.fold_in(self._augment_key, self.step), (6, len(x)))
        mirror, right, down, size, gain, offset = 2 * u - 1
        scale, zero = 1 + _ZOOM * size, torch.zeros_like(size)
        flip = torch.where(mirror < 0, -scale, scale)
        rows = (torch.stack([flip, zero, _SHIFT * right], 1), torch.stack([zero, scale, _SHIFT * down], 1))
        grid = torch_functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
        moved = torch_functional.grid_sample(x, grid, mode="bicubic", padding_mode="border", align_corners=False)
        gain, offset = (value.view(-1, 1, 1, 1) for value in (_CONTRAST * gain, _BRIGHTNESS * offset))
        return ((moved - 0.5) * (1 + gain) + 0.5 + offset).clamp(0, 1)

    def _noisy(self, x: Tensor) -> Tensor:
        """What the encoder sees: it must not tell the few training images apart by a pixel."""
        if not self.images.augment:
            return x
        return x + _ENCODER_NOISE * random.normal(random.fold_in(self._noise_key, self.step), x.shape)

    @torch.no_grad()
    def _update_average(self) -> None:
        """A plain mean at first, so that the random start is forgotten."""
        weight = max(1 - _AVERAGE_DECAY, 9 / (self.step + 9))
        averaged, current = self.average.state_dict().values(), self.vae.state_dict().values()
        for target, source in zip(averaged, current, strict=True):
            if target.is_floating_point():
                target.lerp_(source, weight)
            else:
                target.copy_(source)

    @torch.no_grad()
    def _close_interval(self) -> None:
        training = (self._sums / self.settings.interval).tolist()
        held_out = [
            float(term.double().mean()) for term in self.average.elbo(self.images.held_out, key=self._held_out_key)
        ]
        self._sums.zero_()
        self.history.append((float(self.step), *training, *held_out))
        if not all(torch.tensor(training).isfinite()):
            raise CommandError(
                f"training diverged before step {self.step} (ELBO {training[0]}); try a smaller --learning-rate"
            )

    def _restore_optimizer(self, slots: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in slots.items():
            index, _, slot = name.partition(".")
            state.setdefault(int(index), {})[slot] = value
        parameters: Sequence[Any] = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": parameters})


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
