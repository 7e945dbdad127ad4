"""What worker processes do: run every operation, as one that loads data or augments it might."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from support.cases import CASES, KEY, Case, Tensors, evaluate
from support.noise import NOISE, Noise

SHAPE = (260, 130)  # more than one thread takes, which is 2 · 16384 elements


OPERATIONS: list[Case | Noise] = [*CASES, *(noise for noise in NOISE if noise.ops)]


def work(operation: Case | Noise, row: int = 0) -> Tensors:
    """Outputs and gradients, of numbers that depend on the row."""
    if isinstance(operation, Noise):
        torch.manual_seed(row)
        return {"noise": operation.call(KEY, 20_000 + row)}
    tensors = {name: t + 0.01 * row for name, t in operation.inputs(SHAPE, torch.float64).items()}
    return {name: t.detach() for name, t in evaluate(operation, tensors, {}).items()}


class Rows(Dataset):
    """Each row is the results of every operation."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> dict[str, Tensors]:
        return {operation.name: work(operation, row) for operation in OPERATIONS}
