"""Conditions: what a model is told beside its data, any tree of tensors, for those of its modules that take one.

A module takes a condition where its ``forward`` has a parameter of that name, and needs one where that has no default;
an attribute ``takes_condition`` beside it says so or denies it. A wrapper, which takes any keyword, takes what one of
its parts takes.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from genkern import _checks

Condition = Any
"""A Tensor ``[B, ...]``, or a tuple, list or mapping of conditions."""


class Told:
    """The roles of a model whose modules take a condition, and those that need one."""

    def __init__(self, taking: Mapping[str, bool | None]) -> None:
        self.takers = tuple(role for role, needs in taking.items() if needs is not None)
        self.needing = tuple(role for role, needs in taking.items() if needs)

    def options(self, role: str, condition: Condition) -> dict[str, Condition]:
        """The keywords of a call of that module."""
        return {} if condition is None or role not in self.takers else {"condition": condition}

    def check(self, condition: Condition, batch: int, *, role: str | None = None, unused: bool = False) -> None:
        """`condition` is one of so many data, where a module takes it, and is there, where one, or `role`, needs it."""
        if condition is None:
            needing = self.needing if role is None else tuple(name for name in self.needing if name == role)
            if needing:
                raise ValueError(f"condition: expected one, which the {needing[0]} needs, got None")
            return
        leaves = check_tree(condition)
        if not self.takers and not unused:
            raise ValueError(
                "condition: expected None, as no module has a parameter of that name "
                f"(none counts where takes_condition is False), got {_checks.type_name(condition)}"
            )
        for leaf in leaves:
            check_rows(leaf, batch)


class Conditioned(nn.Module):
    """A model that knows which of the modules in its `_ROLES` take a condition, those that replace others too."""

    _ROLES: ClassVar[tuple[str, ...]] = ()
    _METHODS: ClassVar[dict[str, str]] = {}
    """The method of a role that takes the condition, if not ``forward``."""
    _TAKING_NOTHING_ELSE: ClassVar[tuple[str, ...]] = ()
    _told = Told({})

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in self._ROLES:
            modules = {role: module for role, module in self.named_children() if role in self._ROLES}
            taking = {
                role: role in self._TAKING_NOTHING_ELSE or taking_of(modules[role], self._METHODS.get(role, "forward"))
                for role in self._ROLES
                if role in modules
            }
            object.__setattr__(self, "_told", Told(taking))


class ClassTable(nn.Module):
    """A row for each class: of labels ``[B]`` their rows, of vectors ``[B, num_classes]`` the rows' weighted sums.

    Its rows begin at random, as those of a linear map of one-hot vectors would, or at 0.
    """

    def __init__(self, num_classes: int, features: int, made: dict[str, Any], *, at_random: bool = True) -> None:
        super().__init__()
        num_classes = _checks.positive("num_classes", num_classes)
        bound = num_classes**-0.5 if at_random else 0.0
        self.weight = nn.Parameter(torch.empty(num_classes, features, **made).uniform_(-bound, bound))

    def forward(self, condition: Tensor, rows: int | None = None) -> Tensor:
        num_classes, weight = len(self.weight), self.weight
        what = f"labels (B,) or vectors (B, {num_classes})"
        if not isinstance(condition, Tensor):
            raise TypeError(f"condition: expected {what}, got {_checks.type_name(condition)}")
        if condition.device != weight.device:
            raise ValueError(f"condition: expected device {weight.device}, got {condition.device}")
        if rows is not None:
            check_rows(condition, rows)
        if condition.is_floating_point():
            if condition.ndim != 2 or condition.shape[1] != num_classes:
                raise ValueError(f"condition: expected {what}, got shape {_checks.shape_text(condition.shape)}")
            if condition.dtype != weight.dtype and not torch.is_autocast_enabled(condition.device.type):
                raise TypeError(
                    f"condition: expected dtype {weight.dtype}, that of the parameters, got {condition.dtype}"
                )
            return condition @ weight
        check_labels(condition, what)
        try:
            return functional.embedding(condition, weight)
        except IndexError as error:
            raise ValueError(out_of_range(condition, num_classes)) from error

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))


def check_tree(condition: Condition) -> list[Tensor]:
    """The tensors of the condition, one or more."""
    leaves = list(_leaves(condition))
    if not leaves:
        raise ValueError(f"condition: expected one or more tensors, got an empty {_checks.type_name(condition)}")
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise TypeError(f"condition: expected a Tensor or a tree of them, got {_checks.type_name(leaf)}")
    return leaves


def check_rows(condition: Tensor, rows: int) -> None:
    if condition.ndim == 0 or condition.shape[0] != rows:
        raise ValueError(
            f"condition: expected {rows} rows, as many as data, got shape {_checks.shape_text(condition.shape)}"
        )


def check_labels(condition: Tensor, what: str) -> None:
    """Their range is not looked at: on a GPU that would wait for it."""
    if condition.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"condition: expected {what}, int64, int32 or floating, got {condition.dtype}")
    if condition.ndim != 1:
        raise ValueError(f"condition: expected {what}, got shape {_checks.shape_text(condition.shape)}")


def out_of_range(labels: Tensor, num_classes: int) -> str:
    least, most = labels.min().item(), labels.max().item()
    return f"condition: expected labels from 0 to {num_classes - 1}, got {least} to {most}"


def repeated(condition: Condition, times: int) -> Condition:
    """The condition of `times` copies of the batch, one behind another."""
    return _mapped(lambda leaf: leaf.expand(times, *leaf.shape).flatten(0, 1), condition)


def taking_of(module: nn.Module, method: str = "forward") -> bool | None:
    """Whether the module needs the condition that it takes; None: it takes none."""
    try:
        parameters = inspect.signature(getattr(module, method)).parameters
    except (ValueError, TypeError):  # of a traced program
        return None
    if "condition" in parameters:
        said = getattr(module, "takes_condition", None)
        if isinstance(said, bool):
            return said or None
        return parameters["condition"].default is inspect.Parameter.empty
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    children = list(module.children())
    found = [taking for child in children if (taking := taking_of(child, method)) is not None]
    return any(found) if found or not children else None


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
