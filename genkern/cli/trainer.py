"""Training as a pure function of (settings, data, step): what makes a resumed run equal to an uninterrupted one.

This is common to all models; `genkern.cli.vae.trainer` and `genkern.cli.gan.trainer` say what a step is.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from genkern import _dtensor, random
from genkern.cli.batches import Batches, stream
from genkern.cli.data import Images
from genkern.cli.engine import Engine, started
from genkern.cli.errors import CommandError
from genkern.cli.sampling import Model, drawn, rows_of_classes
from genkern.cli.settings import RunSettings
from genkern.cli.sharding import part

_UNNAMED = "vae"
SettingsT = TypeVar("SettingsT", bound=RunSettings)
Self = TypeVar("Self", bound="Trainer[Any]")


class Trainer(ABC, Generic[SettingsT]):
    """A model and how far it has come. Nothing depends on how long the run is going to be: any run is the beginning of
    a longer one.
    """

    family: ClassVar[str]
    """The kind of model, by which a checkpoint is known."""
    settings_type: ClassVar[type[RunSettings]]
    figures: tuple[str, ...]
    """The figures that a step measures; the history has their means over an interval."""
    held_out_figures: ClassVar[tuple[str, ...]]
    """The figures that are measured at the end of an interval."""
    legend: ClassVar[str]
    """The explanation of the lines of the history."""
    best_by: ClassVar[str | None] = None
    """The figure of which more is better, if the interval at which a model is best is known by one."""
    draws: ClassVar[tuple[str, ...]]
    """The uses of noise, in training and behind it; the place of each is part of its key, so new ones stand last."""

    def __init__(self, settings: SettingsT, images: Images, engine: Engine | None = None) -> None:
        self.settings = settings
        self.engine = started() if engine is None else engine
        self.images = images.on(self.engine.device)
        self.step = 0
        self.history: list[tuple[float, ...]] = []
        self.batches = Batches(images.train, settings.batch_size, self.key("order"), self.engine)
        self._stream: tuple[int, Iterator[Tensor]] | None = None
        self._sums = torch.zeros(len(self.figures), dtype=torch.float64)

    def key(self, draw: str) -> Tensor:
        return random.fold_in(random.key(self.settings.seed), self.draws.index(draw))

    def key_of_step(self, draw: str) -> Tensor:
        """The key of one of the `draws` in this step."""
        return random.fold_in(self.key(draw), self.step)

    @classmethod
    def restored(
        cls: type[Self],
        tensors: dict[str, Tensor],
        metadata: dict[str, Any],
        where: str,
        data: str | None = None,
        cache: Path | None = None,
        engine: Engine | None = None,
    ) -> Self:
        """The trainer of a `state`, to be looked at; its images are at `data` if not where its settings say."""
        try:
            settings = cls.settings_type(**metadata["settings"])
        except (KeyError, TypeError, CommandError) as error:
            raise CommandError(f"{where}: its settings are not those of a run of this version ({error})") from error
        images = settings.changed(data=data).load(cache=cache)
        if metadata.get("data") != images.fingerprint:
            raise CommandError(
                f"{where}: the run was made with other images than those of {data or settings.data!r}; see --data"
            )
        trainer = cls(settings, images, engine)
        trainer.restore(tensors, metadata, where, to_train=False)
        return trainer

    def columns(self) -> tuple[str, ...]:
        return ("step", *self.figures, *self.held_out_figures)

    def records(self) -> list[dict[str, float]]:
        return [dict(zip(self.columns(), line, strict=True)) for line in self.history]

    def best_step(self) -> int | None:
        """The step of the best interval so far, the first of several."""
        if self.best_by is None or not self.history:
            return None
        column = self.columns().index(self.best_by)
        return int(max(self.history, key=lambda line: line[column])[0])

    def advance(self, told: Callable[[], int] = int) -> tuple[bool, int]:
        """One step; True at the end of an interval, when a line of history has been added, and what `told` says then.

        CommandError where a figure is not finite: what was saved before is whole.
        """
        figures = self._step(self._batch())
        self.step += 1
        diverged, number = self.engine.highest(int(not figures.isfinite().all()), told())
        if diverged:
            raise self._diverged(self.figures[0], self.engine.mean(figures)[0].item())
        self._sums += figures
        if self.step % self.settings.interval:
            return False, number
        training = (self.engine.mean(self._sums) / self.settings.interval).tolist()
        self._sums.zero_()
        held_out = self._held_out()
        if not torch.tensor(held_out).isfinite().all():  # the same on every rank
            raise self._diverged(self.held_out_figures[0], held_out[0])
        self.history.append((float(self.step), *training, *held_out))
        return True, number

    def _diverged(self, figure: str, value: float) -> CommandError:
        return CommandError(f"training diverged at step {self.step} ({figure} {value}); try a smaller --learning-rate")

    def _batch(self) -> Tensor:
        """The batch of this step; those that follow are read while it is computed on."""
        if self._stream is None or self._stream[0] != self.step:  # at the start of a run
            self._stream = self.step, stream(self.batches, self.step, self.engine)
        batches = self._stream[1]
        self._stream = self.step + 1, batches
        return next(batches)

    def close(self) -> None:
        """End what reads ahead; a next step would begin it anew."""
        self._stream = None

    def learning_rate(self) -> float:
        """That of this step: it grows at first, and falls to 0 along half a cosine, if it is to."""
        rate = self.settings.learning_rate
        if self.settings.rate_warmup:
            rate *= min(1.0, (self.step + 1) / self.settings.rate_warmup)
        if self.settings.cosine:
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / self.settings.cosine)))
        return rate

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that `restore` needs, as tensors and metadata; all processes ask together, and the first one gets it."""
        self._sums = self.engine.mean(self._sums)
        tensors: dict[str, Tensor] = {}
        for name, source in self._parts().items():
            state = _adam_state(source) if isinstance(source, Optimizer) else source.state_dict()
            for key, value in state.items():
                gathered = _dtensor.whole(value)
                if self.engine.is_first:
                    tensors[f"{name}.{key}"] = gathered.cpu()
        tensors["history"] = torch.tensor(self.history, dtype=torch.float64).view(-1, len(self.columns()))
        tensors["interval_sums"] = self._sums
        metadata: dict[str, Any] = {
            "settings": self.settings.to_dict(),
            "step": self.step,
            "data": self.images.fingerprint,
        }
        metadata["images"] = {"shape": list(self.images.shape), "train": len(self.images.train)}
        if self.settings.conditional:
            metadata["images"] |= {"classes": list(self.images.classes)}
        if scale := self.engine.scaler.state_dict():
            metadata["scaler"] = scale
        return tensors, metadata | ({} if self.family == _UNNAMED else {"family": self.family})

    def restore(
        self, tensors: dict[str, Tensor], metadata: dict[str, Any], where: str, *, to_train: bool = True
    ) -> None:
        """Continue from `state`, or look at it, without the moments of Adam; CommandError for one of another run."""
        found = family_of(metadata)
        if found != self.family:
            raise CommandError(f"{where}: expected a run of a {self.family}, a {found} is there; give another --out")
        self.settings.require_same(metadata.get("settings", {}), where)
        if metadata.get("data") != self.images.fingerprint:
            raise CommandError(f"{where}: the run there was made with other images; give another --out")
        try:
            for name, into in self._parts().items():
                if isinstance(into, Optimizer) and not to_train:
                    continue
                state = {key[len(name) + 1 :]: t for key, t in tensors.items() if key.startswith(f"{name}.")}
                _load(into, state)
            self.history = [tuple(line) for line in tensors["history"].tolist()]
            self._sums = tensors["interval_sums"].clone()
            self.step = int(metadata["step"])
            if "scaler" in metadata:
                self.engine.scaler.load_state_dict(metadata["scaler"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise CommandError(
                f"{where}: the checkpoint does not fit the model ({str(error).splitlines()[0]})"
            ) from error

    def samples(
        self,
        num: int,
        draw: str = "samples",
        labels: Tensor | None = None,
        track: Callable[[list[int]], Iterable[int]] = iter,
    ) -> Tensor:
        """Images of the averaged model, of the same noise at every step; of a conditional one, of these classes.

        By default they have the classes of the training images, in their order.
        """
        if labels is None:
            labels = self.images.train.labels(torch.arange(num) % len(self.images.train))
        return drawn(self.model, num, self.key(draw), track, labels)

    def sample_grid(self, rows: int, columns: int) -> Tensor:
        """Samples for a picture of so many rows; of a conditional model a row is a class, whatever their number."""
        labels = rows_of_classes(self.settings.num_classes(self.images), columns)
        return self.samples(rows * columns if labels is None else len(labels), labels=labels)

    @property
    @abstractmethod
    def model(self) -> Model:
        """The averaged model, which draws images."""

    @abstractmethod
    def line(self) -> str:
        """The last interval, to be printed."""

    @abstractmethod
    def _step(self, x: Tensor) -> Tensor:
        """Train on this process's rows of the batch of step `self.step`; the figures, float64, on the CPU."""

    @abstractmethod
    def _held_out(self) -> Sequence[float]:
        """The held-out figures."""

    @abstractmethod
    def _parts(self) -> dict[str, Any]:
        """The modules and optimisers whose states a checkpoint holds, by the prefix of their tensors."""


def family_of(metadata: dict[str, Any]) -> str:
    """The family of a checkpoint, of which those of VAEs say nothing."""
    return metadata.get("family", _UNNAMED)


def _adam_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state that Adam has for each parameter."""
    slots = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, state in slots.items() for name, value in state.items()}


def _load(into: nn.Module | Optimizer, tensors: dict[str, Tensor]) -> None:
    """A state as modules have it, or as `_adam_state` gives it."""
    if isinstance(into, nn.Module):
        own = into.state_dict()
        into.load_state_dict({name: part(value, own.get(name)) for name, value in tensors.items()})
        return
    params = dict(enumerate(p for group in into.param_groups for p in group["params"]))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, slot = name.partition(".")
        state.setdefault(int(index), {})[slot] = part(value, params.get(int(index)))
    into.load_state_dict({"state": state, "param_groups": into.state_dict()["param_groups"]})
