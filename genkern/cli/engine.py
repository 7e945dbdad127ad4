"""The device, the precision and the processes of a run, by Lightning Fabric."""

import importlib
import logging
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh

from genkern.cli.errors import CommandError
from genkern.cli.sharding import shard

T = TypeVar("T")
ModuleT = TypeVar("ModuleT", bound=nn.Module)

_MOST_WORKERS = 4
_KINDS = ("cuda", "mps", "cpu")
"""The first that is there is `auto`."""
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""The names of precisions, and Fabric's for them. Weights and losses are float32 in all."""


@dataclass(frozen=True)
class Engine:
    """A Fabric whose processes are there. Each trains on its rows of every batch, and the first one speaks.

    Modules are not wrapped in DistributedDataParallel: a step of a VAE is more than a `forward`, and a penalty takes
    second derivatives; gradients are averaged once all are there.
    """

    fabric: Any
    compiles: bool = False
    workers: int = 0
    """Processes that read images ahead."""
    shards: bool = False
    """Whether each process holds its shard of a model, not the whole."""

    @property
    def device(self) -> torch.device:
        return self.fabric.device

    @property
    def count(self) -> int:
        return self.fabric.world_size

    @property
    def is_first(self) -> bool:
        return self.fabric.is_global_zero

    @cached_property
    def scaler(self) -> torch.amp.GradScaler:
        """That of the losses, which scales in float16 alone."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        return torch.amp.GradScaler("cpu", enabled=False) if scaler is None else scaler

    @property
    def described(self) -> str:
        """The device by its name, and how many processes have one each."""
        name = str(self.device)
        if self.device.type == "cuda":
            name = f"{torch.cuda.get_device_name(self.device)} ({name})"
        return name if self.count == 1 else f"{name}, {self.count} processes"

    def rows(self, batch_size: int) -> slice:
        """This process's part of a batch."""
        if batch_size % self.count:
            raise CommandError(f"--batch-size: expected a multiple of the {self.count} processes, got {batch_size}")
        size = batch_size // self.count
        return slice(self.fabric.global_rank * size, (self.fabric.global_rank + 1) * size)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, on each of them."""
        return self._reduced(values, distributed.ReduceOp.SUM) / self.count

    def highest(self, *numbers: int) -> list[int]:
        """The same on each process: what one of them has been told, all know."""
        return self._reduced(torch.tensor(numbers), distributed.ReduceOp.MAX).tolist()

    def together(self, make: Callable[[], T]) -> T:
        """The result of `make` on each process, on the first of a machine before the others: they find what it left.

        All have come this far when it returns, and a CommandError of one is one of all.
        """
        if self.count == 1:
            return make()
        made: list[T] = []
        reason = ""
        with self.fabric.rank_zero_first(local=True):
            try:
                made.append(make())
            except CommandError as error:
                reason = str(error)
        reasons = [""] * self.count
        distributed.all_gather_object(reasons, reason)
        for told in filter(None, reasons):
            raise CommandError(told)
        return made[0]

    def close(self) -> None:
        """No process talks to another from here on. A thread that still could would abort the program at its end."""
        if self.count > 1:
            distributed.destroy_process_group()

    def prepared(self, module: ModuleT, *networks: nn.Module) -> ModuleT:
        """On the device, or this process's shard of it; of its `networks`, each compiled where that is asked for."""
        if self.shards:  # before all of it is on the device
            shard(module, init_device_mesh(self.device.type, (self.count,)))
        module = self.fabric.to_device(module)
        if self.compiles:
            for network in networks:
                network.compile()
        return module

    def alone(self) -> "Engine":
        """The engine of one process for itself, which holds whole models."""
        return replace(self, shards=False) if self.shards else self

    def autocast(self) -> AbstractContextManager[None]:
        return self.fabric.autocast()

    def _reduced(self, values: Tensor, how: Any) -> Tensor:
        if self.count == 1:
            return values
        reduced = values.to(self.device, copy=True)
        distributed.all_reduce(reduced, how)
        return reduced.to(values.device)


def started(
    device: str = "cpu",
    precision: str = "32",
    *,
    processes: int | None = None,
    compiles: bool = False,
    workers: int | None = None,
    shards: bool = False,
) -> Engine:
    """The processes that the environment names, as torchrun sets it, or `processes`, of which all but this are started.

    `precision` is one of `PRECISIONS`. `device` is auto, cpu, cuda, mps, or one GPU, such as cuda:1; auto is a GPU if
    torch finds one.
    """
    kind, index = _place(device)
    if precision == "16" and kind == "cpu":
        raise CommandError("--precision: expected 32 or bf16 on the CPU, got '16'")
    here, everywhere = (int(os.environ.get(name, "0")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))  # torchrun's
    if processes is not None and (processes < 1 or here):
        raise CommandError(f"--processes: expected at least 1, and none under torchrun, got {processes}")
    count = here or processes or 1
    if shards and max(count, everywhere) == 1:
        raise CommandError("--shard: expected several processes, got 1")
    if shards and precision == "16":  # its scale of the losses is for whole gradients
        raise CommandError("--precision: expected 32 or bf16 with --shard, got '16'")
    if count > 1 and (index is not None or (kind != "cpu" and count > _found(kind))):
        raise CommandError(f"--device: expected {kind} with a device for each of {count} processes, got {device!r}")
    if here and everywhere % here:
        raise CommandError(f"torchrun: expected as many processes on every machine, got {here} of {everywhere}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers is None:
        workers = 0 if kind == "cpu" else max(0, min(_MOST_WORKERS, cores // count - 1))
    elif workers < 0:
        raise CommandError(f"--workers: expected at least 0, got {workers}")
    if kind == "cuda":  # the same numbers in every run, and float32 where it is asked for
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
    lightning = _fabric()
    fabric = lightning.Fabric(
        accelerator=kind,
        devices=count if index is None else [index],
        num_nodes=everywhere // here if here else 1,
        precision=PRECISIONS[precision],
        plugins=None if here else [lightning.plugins.environments.LightningEnvironment()],  # not a cluster's own
    )
    fabric.launch()
    return Engine(fabric, compiles, workers, shards)


def _place(device: str) -> tuple[str, int | None]:
    """The kind of device, and which of several, if that is said."""
    kind, _, index = device.partition(":")
    if kind not in ("auto", *_KINDS) or (":" in device and not (kind == "cuda" and index.isdecimal())):
        raise CommandError(f"--device: expected auto, cpu, cuda, cuda:NUMBER or mps, got {device!r}")
    if kind == "auto":
        kind = next(name for name in _KINDS if _found(name))
    if _found(kind) <= int(index or 0):
        raise CommandError(f"--device: expected a device that torch finds here, got {device!r}")
    return kind, int(index) if index else None


def _found(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count()
    return 1 if kind == "cpu" else int(torch.backends.mps.is_available())


def _fabric() -> Any:
    """The module, of whichever of its two packages is installed."""
    for name in ("lightning_fabric", "lightning.fabric"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and name.startswith(error.name):
                continue
            raise CommandError(f"training needs lightning-fabric, which cannot be imported: {error}") from error
        logging.getLogger(name).setLevel(logging.WARNING)  # of its own accord it tells of devices that are not used
        return module
    raise CommandError("training needs lightning-fabric, which is not installed: pip install 'genkern[demo]'")


def is_first() -> bool:
    """Whether what all processes know is this one's to say; also before there is an engine."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def was_started() -> bool:
    """Whether it is one of the processes that the first one has started, which ends when one of them fails."""
    return "LOCAL_WORLD_SIZE" not in os.environ and not is_first()


def is_left_alone(error: RuntimeError) -> bool:
    """Whether another process has ended while this one was waiting for it: the reason is the other's to say."""
    return not is_first() and "by peer" in str(error)
