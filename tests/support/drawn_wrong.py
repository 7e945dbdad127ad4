"""Drawn calls with one argument that may be wrong: every backend says the same about it.

The others fit (tests/support/drawn_operations.py). The one that is replaced gets a value of a wrong type, a tensor of
another dtype, shape or device, or an option's value that may or may not be allowed.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

import genkern as gk
from support.backends import REFERENCE, Backend
from support.calls import FUNCTIONS, is_error, outcome
from support.drawn import Draw, Seeds
from support.drawn_definitions import arguments_of
from support.drawn_operations import DRAWS
from support.values import VALUES, WRONG_DTYPES, WRONG_TYPES


class WrongCall:
    """Call `index` of an operation: `arguments`, of which `changed` has been replaced."""

    def __init__(self, operation: str, index: int) -> None:
        self.operation, self.index = operation, index
        draw = Draw(f"wrong {operation}", index)
        draw.mood = "usual"
        DRAWS[operation](draw)
        names = list(inspect.signature(FUNCTIONS[operation]).parameters)
        given = arguments_of(draw.tensors, draw.options)
        self.arguments = {name: value for name, value in given.items() if name in names}
        self.changed = draw.one(names)
        if self.changed in ("eps", "generator") and draw.chance(0.8):
            self.arguments.pop("key", None)
        self.arguments[self.changed] = _replaced(draw, self.arguments.get(self.changed), self.changed)

    def __str__(self) -> str:
        return f"{self.operation}-{self.index}"

    def as_text(self) -> str:
        """What is wrong about it, or may be."""
        value = self.arguments[self.changed]
        if isinstance(value, Tensor):
            return f"{self.changed} = Tensor of shape {tuple(value.shape)}, {value.dtype}, {value.device}"
        return f"{self.changed} = {value!r:.80}"


def _replaced(draw: Draw, value: Any, name: str) -> Any:
    how = draw.weighted([("type", 2), ("option", 3), ("dtype", 1), ("shape", 3), ("device", 1)])
    if how == "type":
        return draw.one(WRONG_TYPES)
    if isinstance(value, list) and value and isinstance(value[0], Tensor) and draw.chance(0.7):
        place = draw.random.randrange(len(value))
        return [*value[:place], _other(draw, value[place], how), *value[place + 1 :]]
    if isinstance(value, Tensor) and value.is_floating_point() and (how != "option" or name not in VALUES):
        return _other(draw, value, how)
    if name in VALUES:
        return draw.one(VALUES[name])
    return _other(draw, torch.ones(draw.shape()), how)


def _other(draw: Draw, t: Tensor, how: str) -> Tensor:
    if how == "dtype":
        return t.to(draw.one(WRONG_DTYPES))
    if how == "device":
        return t.to("meta")
    # A dimension more or less, or another size somewhere, which may fit by chance.
    sizes = list(t.shape)
    change = draw.one(("more", "less", "size", "anything"))
    if change == "anything":
        return torch.ones(draw.shape(), dtype=t.dtype)
    place = draw.random.randint(0, len(sizes))
    if change == "more" or not sizes:
        sizes.insert(place, draw.one((1, 2, 3)))
    elif change == "less":
        del sizes[place % len(sizes)]
    else:
        sizes[place % len(sizes)] = draw.one((0, 1, 2, 3, 7))
    return torch.ones(sizes, dtype=t.dtype)


def disagreement(call: WrongCall, backend: Backend) -> list[str]:
    """Where a backend and the definition say different things, or an error names no argument."""
    with REFERENCE.use():
        expected = _said(call)
    # No compiled kernel serves the meta device: there users get what its fake kernels say.
    with gk.use_backend("auto") if _on_meta(call.arguments) else backend.use():
        got = _said(call)
    if is_error(expected) != is_error(got):
        refusal = next(said for said in (expected, got) if is_error(said))
        return [f"{'accepted' if is_error(expected) else 'refused'}, and by the definition not: {refusal[2]}"]
    if is_error(expected):
        if expected[1] is None or got[1] is None:
            return [f"names no argument: {expected[2]} | {got[2]}"]
        if expected[:2] == got[:2]:
            return []
        return [f"{got[0].__name__} {got[2]} instead of {expected[0].__name__} {expected[2]}"]
    pairs = list(zip(_tensors(expected), _tensors(got), strict=True))
    kinds = [[(t.shape, t.dtype, t.device) for t in pair] for pair in pairs]
    return [f"gives {b} instead of {a}" for a, b in kinds if a != b]


def _said(call: WrongCall) -> Any:
    arguments = {n: v.generators() if isinstance(v, Seeds) else v for n, v in call.arguments.items()}
    return outcome(call.operation, arguments)


def _tensors(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _on_meta(arguments: dict[str, Any]) -> bool:
    found = [t for value in arguments.values() for t in (value if isinstance(value, list) else [value])]
    return any(isinstance(t, Tensor) and t.is_meta for t in found)
