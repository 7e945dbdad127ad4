"""Options of the definitions: flat arguments in public functions and in schemas, one object in between.

A class says once which options there are, of which types and with which defaults (from which `schema` makes the
fragment of a schema), and what is right for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, get_type_hints

import torch
from torch import Tensor

from genkern import _checks

SymInt = Annotated[int, "SymInt"]  # an int in whose place a compiler may have a symbol
CDFS = ("exact", "tanh")


class Sampling(NamedTuple):
    """How noise becomes a sample."""

    sample_shape: Sequence[SymInt] = ()
    temperature: float = 1.0
    element_offset: SymInt = 0

    def check(self) -> None:
        _checks.sizes("sample_shape", self.sample_shape)
        _checks.number("temperature", self.temperature)
        _checks.integer("element_offset", self.element_offset, minimum=0)


class Sigma(NamedTuple):
    """The options that say what a raw scale stands for: clamp, then parameterisation, then offset."""

    scale_param: str = "logvar"
    scale_offset: float = 0.0
    clamp_lo: float | None = None
    clamp_hi: float | None = None
    clamp_mode: str = "hard"

    def check(self) -> Sigma:
        """The same, with numbers as torch takes them."""
        _checks.choice("scale_param", self.scale_param, _checks.SCALE_PARAMS)
        offset = _checks.number("scale_offset", self.scale_offset)
        lo, hi = (_checks.number("clamp", bound, optional=True) for bound in (self.clamp_lo, self.clamp_hi))
        _checks.choice("clamp_mode", self.clamp_mode, _checks.CLAMP_MODES)
        if lo is not None and hi is not None and not lo <= hi:
            raise ValueError(f"clamp: expected lo <= hi, got ({lo}, {hi})")
        if self.clamp_mode == "softclip" and hi is not None:
            raise ValueError(f"clamp: expected (lo, None) for clamp_mode 'softclip', got ({lo}, {hi})")
        if self.clamp_mode == "tanh" and not (lo is None and hi is None):
            symmetric = lo is not None and hi is not None and lo == -hi and hi > 0
            if not symmetric:
                raise ValueError(f"clamp: expected (-c, c) for clamp_mode 'tanh', got ({lo}, {hi})")
        return Sigma(self.scale_param, offset, lo, hi, self.clamp_mode)


class Divergence(NamedTuple):
    """The floor of a divergence, and the weights of its two gradients."""

    free_bits: float = 0.0
    grad_scale_q: float = 1.0
    grad_scale_p: float = 1.0

    def check(self) -> None:
        _checks.number("free_bits", self.free_bits, minimum=0)
        _checks.number("grad_scale_q", self.grad_scale_q)
        _checks.number("grad_scale_p", self.grad_scale_p)


class Bins(NamedTuple):
    """The centres of grey levels: `bins` of them from `low` to `high`."""

    bins: int = 256
    low: float = -1.0
    high: float = 1.0

    def check(self) -> Bins:
        """The same, as torch takes it."""
        return Bins(_checks.integer("bins", self.bins, minimum=2), *self.check_range())

    def check_range(self) -> tuple[float, float]:
        """The first and the last level, as torch takes them."""
        low, high = _checks.number("low", self.low), _checks.number("high", self.high)
        if not low < high:
            raise ValueError(f"high: expected a number above low {low}, got {high}")
        return low, high


class Result(NamedTuple):
    """One output of an operation, before it is computed."""

    shape: Sequence[int]
    dtype: torch.dtype
    device: torch.device
    like: Tensor | None = None  # whose memory format the output has where their shapes agree
    elements: torch.Size = torch.Size()  # of a loss: the shape of what is reduced

    def empty(self) -> Tensor:
        """An uninitialised tensor, laid out as the kernels lay it out."""
        if self.like is not None and tuple(self.like.shape) == tuple(self.shape):
            return torch.empty_like(self.like, dtype=self.dtype)
        return torch.empty(tuple(self.shape), dtype=self.dtype, device=self.device)


class Loss(NamedTuple):
    """How a loss is reduced over its elements."""

    reduction: str = "event"
    units: str = "nats"
    event_ndim: int | None = None

    def check(self, ndim: int) -> None:
        _checks.choice("reduction", self.reduction, _checks.REDUCTIONS)
        _checks.choice("units", self.units, _checks.UNITS)
        _checks.integer("event_ndim", self.event_ndim, optional=True, minimum=0)
        if self.event_ndim is not None and self.event_ndim > ndim:
            raise ValueError(f"event_ndim: expected at most {ndim}, the number of dimensions, got {self.event_ndim}")

    def batch_ndim(self, ndim: int) -> int:
        """The number of leading dimensions that number the data: one by default."""
        return min(ndim, 1) if self.event_ndim is None else ndim - self.event_ndim

    def result(self, elements: torch.Size, *arguments: Tensor | None) -> Result:
        """The loss over elements of this shape, after a check; the first argument says how they lie in memory."""
        self.check(len(elements))
        like, dtype = arguments[0], _checks.compute_dtype(*arguments)
        assert like is not None
        if self.reduction == "none":
            return Result(elements, dtype, like.device, like, elements)
        shape = elements[: self.batch_ndim(len(elements))] if self.reduction == "event" else ()
        return Result(shape, dtype, like.device, None, elements)


_TYPES: dict[Any, str] = {
    str: "str",
    bool: "bool",
    int: "int",
    SymInt: "SymInt",
    float: "float",
    int | None: "int?",
    float | None: "float?",
    Sequence[SymInt]: "SymInt[]",
}


def schema(*kinds: Any, without: str = "") -> str:
    """The arguments of a schema that options of these kinds are, but for the one named `without`."""
    arguments = []
    for kind in kinds:
        for name, hint in get_type_hints(kind, include_extras=True).items():
            default = kind._field_defaults[name]
            shown = f'"{default}"' if isinstance(default, str) else "[]" if default == () else str(default)
            arguments.append(f"{_TYPES[hint]} {name}={shown}")
    return ", ".join(argument for argument in arguments if not without or f" {without}=" not in argument)
