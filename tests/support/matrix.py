"""The matrix, operations × properties: what every operation must be shown to be, and which tests show it.

A test says what it covers, ``@matrix.covers("vmap")``; for which operations, its parameters tell: a `Case`, a `Noise`
or the name of a public function. Where it has none, ``of=["random.split"]`` does. Holes are named with their reason:
``except_={"gaussian_kl-prior": "because"}``.

``pytest --operations`` prints the table of the tests that it collects and runs none; tests/test_operations.py fails
where something is missing from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import genkern as gk
from support.cases import CASES, Case
from support.noise import NOISE, Noise

Row = Case | Noise
ROWS: dict[str, Row] = {row.name: row for row in (*CASES, *NOISE)}


def every(row: Row) -> str | None:
    """Why a property that every op has is not asked of `row`; None where it is."""
    return "a tensor of two numbers, made by no op" if isinstance(row, Noise) and not row.ops else None


def differentiable(row: Row) -> str | None:
    return "has no floating input" if isinstance(row, Noise) else None


def drawing(row: Row) -> str | None:
    return None if (row.keyed if isinstance(row, Case) else row.name == "random.reserve") else "draws no noise"


def keyed(row: Row) -> str | None:
    return None if (row.keyed if isinstance(row, Case) else row.takes_key) else "takes no key"


def sampling(row: Row) -> str | None:
    return differentiable(row) or drawing(row)


def reducing(row: Row) -> str | None:
    return differentiable(row) or (None if isinstance(row, Case) and row.reduces else "reduces nothing")


def of_tensors(row: Row) -> str | None:
    return "takes no tensor" if isinstance(row, Noise) and not row.takes_key else None


def shaped(row: Row) -> str | None:
    return every(row) or ("is one key" if row.name in ("random.fold_in", "random.reserve") else None)


def indexed(row: Row) -> str | None:
    if row.name in ("gaussian_kl", "gaussian_rsample_kl"):
        return None
    return "takes its indices from the engine of gaussian_kl and gaussian_rsample_kl"


def typed(row: Row) -> str | None:
    return every(row) or (
        "is made of integers"
        if row.name.startswith("random") and row.name not in ("random.normal", "random.uniform")
        else None
    )


def public(row: Row) -> str | None:
    return None


# What is asked, and of which operations.
PROPERTIES: dict[str, Callable[[Row], str | None]] = {
    # Numbers
    "accuracy against float64": public,
    "every option": differentiable,
    "every instruction set": every,
    "shapes": shaped,
    "0-dim": shaped,
    "empty batches": shaped,
    "dtypes": typed,
    "layouts": of_tensors,
    "extreme values": of_tensors,
    "reductions and units": reducing,
    "the same bits in every run and for every number of threads": every,
    "deterministic algorithms": differentiable,
    "more than 2**31 elements": indexed,
    # Gradients
    "gradcheck": differentiable,
    "gradgradcheck": differentiable,
    "gradients that arrive expanded": differentiable,
    "gradients that arrive non-contiguous": differentiable,
    "gradients that arrive 0-dim": differentiable,
    "gradients that arrive undefined": differentiable,
    "backward twice": differentiable,
    "inputs unchanged": of_tensors,
    # What torch does with an op
    "opcheck": every,
    "meta tensors": every,
    "torch.compile, static": every,
    "torch.compile, dynamic": of_tensors,
    "no recompilation for other sizes": of_tensors,
    "no recompilation for other keys": keyed,
    "no recompilation for keys that are drawn": drawing,
    "torch.export": every,
    "torch.func.grad": differentiable,
    "vmap": every,
    "per-sample gradients": differentiable,
    "jvp": differentiable,
    "autocast": every,
    "checkpointing, key given": sampling,
    "checkpointing, key drawn": sampling,
    "the overload draw": sampling,
    # Where it runs
    "several threads": every,
    "fork": every,
    "DataLoader workers": every,
    "a device without kernels": every,
    "CUDA graphs": differentiable,
    "distributed": differentiable,
    # Callers
    "bad input": public,
}

# Public functions that are no rows, and the tests that show them: those that draw without a gradient, those of pairs of
# points and components, which have neither elements nor reductions, those that only call other operations, those of a
# few log weights, and one that changes lists of tensors in place, without a result.
APART = {
    "discretized_logistic_mixture_sample": "tests/test_logistic_mixture.py",
    "negative_binomial_sample": "tests/test_count_samples.py",
    "poisson_sample": "tests/test_count_samples.py",
    "zero_inflated_negative_binomial_sample": "tests/test_count_samples.py",
    "gaussian_mixture_log_prob": "tests/test_mixture.py",
    "kde_log_prob": "tests/test_mixture.py",
    "total_correlation": "tests/test_mixture.py",
    "mmd": "tests/test_mmd.py",
    "ema_update_": "tests/test_gan.py",
    "LogMeanExp": "tests/test_bounds.py",
    "importance_weighted_bound": "tests/test_bounds.py",
    "log_mean_exp": "tests/test_bounds.py",
}
APART_OPS = {"gaussian_mixture", "mmd", "ema_update_", "negative_binomial_sample", "poisson_sample"}


def covers(*properties: str, of: Iterable[str] = (), except_: Mapping[str, str] | None = None) -> pytest.MarkDecorator:
    """The test shows these properties of the operations among its parameters, or of those named in `of`."""
    excepted = dict(except_ or {})
    for name in properties:
        if name not in PROPERTIES:
            raise ValueError(f"properties: expected one of matrix.PROPERTIES, got {name!r}")
    for name in (*of, *excepted):
        if name not in ROWS:
            raise ValueError(f"of, except_: expected the name of a case, got {name!r}")
    for name, reason in excepted.items():
        if not reason:
            raise ValueError(f"except_: expected a reason for {name}, got none")
    return pytest.mark.covers(*properties, of=tuple(of), except_=excepted)


@dataclass
class Table:
    """How many tests a cell (operation, property) has, how many of them need a GPU, and which cells are excepted."""

    tests: Counter[tuple[str, str]] = field(default_factory=Counter)
    on_gpu: Counter[tuple[str, str]] = field(default_factory=Counter)
    excepted: dict[tuple[str, str], str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, items: Iterable[pytest.Item]) -> Table:
        table = cls()
        for item in items:
            table.add(item)
        return table

    def add(self, item: pytest.Item) -> None:
        for mark in item.iter_markers("covers"):
            names = mark.kwargs["of"] or _operations(item)
            if not names and not mark.kwargs["except_"]:
                self.faults.append(f"{item.nodeid} covers {', '.join(mark.args)} of no operation")
            for property in mark.args:
                cells = [(name, property) for name in names]
                self.tests.update(cells)
                if item.get_closest_marker("cuda"):
                    self.on_gpu.update(cells)
                self.excepted |= {(name, property): reason for name, reason in mark.kwargs["except_"].items()}

    def reason(self, name: str, property: str) -> str | None:
        """Why the cell may be empty."""
        return self.excepted.get((name, property)) or PROPERTIES[property](ROWS[name])

    def missing(self) -> list[str]:
        """What must be mended: nothing, if the table has no holes."""
        found = list(self.faults)
        for property in PROPERTIES:
            empty = [n for n in ROWS if not self.tests[n, property] and not self.reason(n, property)]
            if len(empty) == sum(PROPERTIES[property](row) is None for row in ROWS.values()):
                found.append(f"no test covers {property!r}")
            else:
                found += [f"no test covers {property!r} of {name}" for name in empty]
        for name, property in self.excepted:
            if self.tests[name, property]:
                found.append(f"{name} is excepted from {property!r} and tested")
        return found

    def __str__(self) -> str:
        letters: dict[str, str] = {}
        lines = []
        for property in PROPERTIES:
            cells = []
            for name in ROWS:
                cell, reason = (name, property), self.reason(name, property)
                if self.tests[cell]:
                    text = str(self.tests[cell]) + ("*" if self.tests[cell] == self.on_gpu[cell] else "")
                else:
                    text = letters.setdefault(reason, chr(ord("a") + len(letters))) if reason else "?"
                cells.append(f"{text:>5}")
            lines.append(f"{property:<{WIDTH}}{''.join(cells)}")
        heading = " " * WIDTH + "".join(f"{i:>5}" for i in range(1, len(ROWS) + 1))
        legend = [f"{i:>3}  {name}" for i, name in enumerate(ROWS, 1)]
        legend += ["", "  *  needs a GPU"] + [f"  {letter}  {reason}" for reason, letter in letters.items()]
        return "\n".join([heading, *lines, "", *legend])


WIDTH = max(map(len, PROPERTIES)) + 1


def _operations(item: pytest.Item) -> list[str]:
    """The operations among the parameters of a test: a public function stands for all its cases."""
    params: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    names = []
    for value in params.values():
        if isinstance(value, Row):
            names.append(value.name)
        elif isinstance(value, str):
            names += [row.name for row in ROWS.values() if row.op == value]
    return names


def unregistered() -> list[str]:
    """Public functions and ops of torch.ops.genkern that no row stands for, with what would make one."""
    rows = ROWS.values()
    functions = {row.op for row in rows}
    found = [f"{name} has no Case" for name in gk.functional.__all__ if name not in functions and name not in APART]
    found += [f"random.{name} has no Noise" for name in gk.random.__all__ if f"random.{name}" not in functions]
    served = functions | APART_OPS | {op for row in rows if isinstance(row, Noise) for op in row.ops}
    drawn = {row.op for row in rows if isinstance(row, Case) and row.keyed}
    for full in torch._C._dispatch_get_all_op_names():
        namespace, _, name = full.partition("::")
        op, _, overload = name.partition(".")
        if namespace != "genkern":
            continue
        if op.removesuffix("_backward").removesuffix("_vjp") not in served:
            found.append(f"{full} has no Case or Noise")
        if overload == "draw" and op not in drawn:
            found.append(f"{full} has no Case with keyed=True")
    return sorted(found)
