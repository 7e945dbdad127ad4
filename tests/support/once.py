"""Work that one process of a run does for all: results of other processes, which every worker of pytest-xdist reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock


def made_once(name: str, make: Callable[[Path], None], factory: pytest.TempPathFactory) -> Path:
    """The file or folder `name` of this run: the first test that asks makes it, others wait for it or find it.

    `make` is given the path to write to. What it raises, every test that asks is told.
    """
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all workers
    path, failure = folder / name, folder / f"{name}.failure"
    with FileLock(folder / f"{name}.lock"):
        if not path.exists() and not failure.exists():
            try:
                make(path)
            except Exception as error:
                failure.write_text(f"{type(error).__name__}: {error}")
    assert not failure.exists(), failure.read_text()
    return path


def found_by_ranks(
    name: str, run: Callable[[int, str, str], None], world: int, factory: pytest.TempPathFactory
) -> list[Any]:
    """What each rank saved of `world` processes that `run(rank, rendezvous, result)`, as `result.rank`."""

    def make(folder: Path) -> None:
        folder.mkdir()
        arguments = (str(folder / "rendezvous"), str(folder / "result"))
        torch.multiprocessing.spawn(run, arguments, nprocs=world)

    folder = made_once(name, make, factory)
    return [torch.load(folder / f"result.{rank}") for rank in range(world)]
