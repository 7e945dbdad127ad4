"""The processes of a run, as torchrun starts them: each trains on its rows of every batch, the first one speaks."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

from genkern.cli.errors import CommandError

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process's place among `count`; every collective is nothing at all for one process."""

    rank: int = 0
    count: int = 1

    def rows(self, batch_size: int) -> slice:
        """This rank's part of a batch."""
        size = batch_size // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the ranks, on each of them."""
        if self.count == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.count

    def highest(self, number: int) -> int:
        """The same on each rank: what one of them has been told, all know."""
        if self.count == 1:
            return number
        value = torch.tensor(number)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return int(value)

    def one_first(self, make: Callable[[], T]) -> T:
        """The result of `make` on each rank, on the first one before the others: they find what it left on the disk."""
        made = make() if self.rank == 0 else None
        self.highest(0)
        return make() if made is None else made

    def require_shares(self, batch_size: int) -> None:
        if batch_size % self.count:
            raise CommandError(f"--batch-size: expected a multiple of the {self.count} processes, got {batch_size}")


ALONE = Ranks()


def is_first() -> bool:
    """Whether what all processes know is this one's to say."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun's environment names, by gloo; without it, this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or not distributed.is_available():
        yield ALONE
        return
    distributed.init_process_group("gloo")
    try:
        yield Ranks(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()
