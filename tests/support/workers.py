"""What worker processes do: evaluate every case, as one that loads data or augments it might."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from support.cases import CASES, Case, Tensors, evaluate

SHAPE = (500, 130)  # more than one thread takes


def work(case: Case, row: int = 0) -> Tensors:
    """Outputs and gradients, of numbers that depend on the row."""
    tensors = {name: t + 0.01 * row for name, t in case.inputs(SHAPE, torch.float64).items()}
    return {name: t.detach() for name, t in evaluate(case, tensors, {}).items()}


class Rows(Dataset):
    """Each row is the results of every case."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> dict[str, Tensors]:
        return {case.name: work(case, row) for case in CASES}
