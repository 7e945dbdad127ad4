"""Attributes that are made when they are first read, and otherwise are what a plain attribute is.

The projects compute all that a distribution has when it is made, keep it in plain attributes, and take what stands
there at each call. Code assigns to them, deletes them and writes into their tensors. Here each is made when it is asked
for; a method uses the fused operations while what it depends on is as it was made, and the project's own formula else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from genkern import _checks


class Lazy:
    """An attribute made by the function that this decorates; it may be assigned, deleted and written into."""

    def __init__(self, make: Callable[[Any], Tensor]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: LazyAttributes | None, owner: type | None = None) -> Any:
        if instance is None:
            return self
        values, made = instance.__dict__, instance._made
        if self._name not in values:
            if self._name in made:  # and deleted since
                raise AttributeError(f"{type(instance).__name__!r} object has no attribute {self._name!r}")
            values[self._name] = value = self._make(instance)
            made[self._name] = _Made(value, _writes(value))
        return values[self._name]

    def __set__(self, instance: LazyAttributes, value: Any) -> None:
        instance._made.setdefault(self._name, None)
        instance.__dict__[self._name] = value

    def __delete__(self, instance: LazyAttributes) -> None:
        self.__get__(instance)
        del instance.__dict__[self._name]


class LazyAttributes:
    """An object with `Lazy` attributes. Its copies and pickles hold those that were changed and make the others.

    The state of the project's own object is taken as well: its pickle names a class that a patch may have replaced.
    """

    _made: dict[str, _Made | None]
    """The value that each attribute was made, by name: None where it was assigned before it was read; else no entry."""

    def __init__(self) -> None:
        self._made = {}

    def _keep(self, name: str, value: Any) -> None:
        """Sets an attribute that is not lazy, and into which anyone may write: methods read it themselves."""
        self.__dict__[name] = value
        self._made[name] = _Made(value, None)

    def _as_made(self, *names: str) -> bool:
        """Whether all of these are what they were made, or were not asked for."""
        return all(self._is_as_made(name) for name in names)

    def _is_as_made(self, name: str) -> bool:
        if name not in self._made:
            return True
        made = self._made[name]
        if made is None or self.__dict__.get(name) is not made.value:
            return False
        return made.writes is None or _writes(made.value) == made.writes

    def __getstate__(self) -> dict[str, Any]:
        state, made = self.__dict__.copy(), self._made.copy()
        for name in self._lazy() & made.keys():
            if self._is_as_made(name):
                del state[name], made[name]
            else:
                made[name] = None  # a count of writes means nothing to another tensor
        return {**state, "_made": made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_made" not in state:
            self._made = dict.fromkeys(self._lazy() | state.keys())

    @classmethod
    def _lazy(cls) -> set[str]:
        return {name for kind in cls.__mro__ for name, value in vars(kind).items() if isinstance(value, Lazy)}


def wide(value: Any) -> Any:
    """The assigned value in the type that losses have; a number stays as it is."""
    return value.to(_checks.compute_dtype(value)) if isinstance(value, Tensor) else value


class _Made(NamedTuple):
    """The value that an attribute was made, and the writes into it until then: None where they do not count."""

    value: Any
    writes: float | None


def _writes(value: Any) -> float:
    try:
        return value._version
    except RuntimeError:  # tensors of inference mode count none, so any may have been written into
        return math.nan
