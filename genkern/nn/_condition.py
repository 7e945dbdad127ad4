"""Conditions: what a model is told beside its data, any tree of tensors, for those of its modules that take one.

A module takes a condition where its ``forward`` has a parameter of that name, and needs one where that has no default;
an attribute ``conditional`` of the module says both, where there is one.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genkern import _checks

Condition = Any
"""A Tensor ``[B, ...]``, or a tuple, list or mapping of conditions."""

_WRAPPED = ("_orig_mod", "module")  # by torch.compile; by DistributedDataParallel and its like


class Told:
    """The roles of a model whose modules take a condition, and those that need one."""

    def __init__(self, prior: nn.Module | None = None, **modules: nn.Module) -> None:
        of_prior = () if prior is None else ("prior",)  # it takes nothing else
        found = {role: _taking(module) for role, module in modules.items()}
        self.takers = (*(role for role, taking in found.items() if taking is not None), *of_prior)
        self.needing = (*(role for role, taking in found.items() if taking), *of_prior)

    def options(self, role: str, condition: Condition) -> dict[str, Condition]:
        """The keywords of a call of that module."""
        return {} if condition is None or role not in self.takers else {"condition": condition}

    def check(self, condition: Condition, batch: int) -> None:
        """`condition` is one of so many data, where a module takes it, and is there, where one needs it."""
        if condition is None:
            if self.needing:
                raise ValueError(f"condition: expected one, which the {self.needing[0]} needs, got None")
            return
        if not self.takers:
            raise ValueError(
                "condition: expected None, as no module has a parameter of that name, "
                f"got {_checks.type_name(condition)}"
            )
        leaves = list(_leaves(condition))
        if not leaves:
            raise ValueError(f"condition: expected one or more tensors, got an empty {_checks.type_name(condition)}")
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise TypeError(f"condition: expected a Tensor or a tree of them, got {_checks.type_name(leaf)}")
            if leaf.ndim == 0 or len(leaf) != batch:
                raise ValueError(
                    f"condition: expected {batch} rows, as many as data, got shape {_checks.shape_text(leaf.shape)}"
                )


class ClassTable(nn.Module):
    """A row for each class: of labels ``[B]`` their rows, of vectors ``[B, num_classes]`` the rows' weighted sums.

    Its rows begin at random, as a linear map's, or at 0.
    """

    def __init__(self, num_classes: int, features: int, made: dict[str, Any], *, at_random: bool = True) -> None:
        super().__init__()
        bound = _checks.positive("num_classes", num_classes) ** -0.5 if at_random else 0.0
        self.weight = nn.Parameter(torch.empty(num_classes, features, **made).uniform_(-bound, bound))

    def forward(self, condition: Tensor) -> Tensor:
        num_classes = len(self.weight)
        what = f"labels (B,) or vectors (B, {num_classes})"
        if not isinstance(condition, Tensor):
            raise TypeError(f"condition: expected {what}, got {_checks.type_name(condition)}")
        if condition.is_floating_point():
            if condition.ndim != 2 or condition.shape[1] != num_classes:
                raise ValueError(f"condition: expected {what}, got shape {_checks.shape_text(condition.shape)}")
            return condition @ self.weight
        if condition.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"condition: expected {what}, int64 or floating, got {condition.dtype}")
        if condition.ndim != 1:
            raise ValueError(f"condition: expected {what}, got shape {_checks.shape_text(condition.shape)}")
        try:
            return functional.embedding(condition, self.weight)
        except IndexError as error:
            raise ValueError(
                f"condition: expected labels from 0 to {num_classes - 1}, "
                f"got {condition.min().item()} to {condition.max().item()}"
            ) from error

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))


def repeated(condition: Condition, times: int) -> Condition:
    """The condition of `times` copies of the batch, one behind another."""
    return _mapped(lambda leaf: leaf.expand(times, *leaf.shape).flatten(0, 1), condition)


def _taking(module: nn.Module) -> bool | None:
    """Whether the module needs the condition that it takes; None: it takes none."""
    conditional = getattr(module, "conditional", None)
    if isinstance(conditional, bool):
        return conditional or None
    own = inspect.signature(module.forward).parameters.get("condition")
    wrapped = [part for name, part in module.named_children() if name in _WRAPPED]
    if own is None:
        return _taking(wrapped[0]) if wrapped else None
    return own.default is inspect.Parameter.empty


def _leaves(condition: Condition) -> Iterator[Any]:
    if isinstance(condition, Mapping):
        condition = tuple(condition.values())
    if isinstance(condition, (tuple, list)):
        for part in condition:
            yield from _leaves(part)
    else:
        yield condition


def _mapped(function: Callable[[Tensor], Tensor], condition: Condition) -> Condition:
    if condition is None or isinstance(condition, Tensor):
        return None if condition is None else function(condition)
    if isinstance(condition, Mapping):
        return {name: _mapped(function, part) for name, part in condition.items()}
    parts = [_mapped(function, part) for part in condition]
    return type(condition)(*parts) if hasattr(condition, "_fields") else type(condition)(parts)
