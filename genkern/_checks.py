"""Argument checks: every error names the argument, what was expected and what came.

The compiled operations check for themselves; these run where the reference runs, in the fake kernels,
and to explain a call that the dispatcher refused. They read types, shapes and options, never data.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SCALE_PARAMS = ("logvar", "logstd", "std", "var", "softplus")
CLAMP_MODES = ("hard", "straight_through", "softclip", "tanh")
REDUCTIONS = ("event", "none", "sum", "mean", "batchmean")
UNITS = ("nats", "bits", "bits_per_dim")
FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def type_name(value: object) -> str:
    return "None" if value is None else type(value).__name__


def tensor(name: str, value: object, *, optional: bool = False) -> None:
    """A floating tensor on which the library computes."""
    if value is None and optional:
        return
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a Tensor{' or None' if optional else ''}, got {type_name(value)}")
    if value.dtype not in FLOATING:
        raise TypeError(f"{name}: expected a floating dtype (float64, float32, bfloat16 or float16), got {value.dtype}")


def same_device(**tensors: Tensor | None) -> None:
    first: tuple[str, torch.device] | None = None
    for name, value in tensors.items():
        if value is None:
            continue
        if first is None:
            first = name, value.device
        elif value.device != first[1]:
            raise ValueError(f"{name}: expected device {first[1]} as {first[0]}, got {value.device}")


def device(name: str, value: object) -> torch.device:
    try:
        if isinstance(value, str | torch.device):
            return torch.device(value)
    except RuntimeError as error:
        raise ValueError(f"{name}: expected a torch device, got {value!r}") from error
    raise TypeError(f"{name}: expected a torch.device or str, got {type_name(value)}")


def dtype(name: str, value: object) -> None:
    if value not in FLOATING:
        raise TypeError(f"{name}: expected float64, float32, bfloat16 or float16, got {value}")


def choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a str, got {type_name(value)}")
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")


def number(name: str, value: object, *, optional: bool = False, minimum: float | None = None) -> None:
    if value is None and optional:
        return
    if not isinstance(value, int | float | torch.SymInt | torch.SymFloat):
        raise TypeError(f"{name}: expected a number{' or None' if optional else ''}, got {type_name(value)}")
    if isinstance(value, int) and abs(value) >= 2**1023:
        raise ValueError(f"{name}: expected a number in the range of float64, got an int of {len(str(value))} digits")
    if minimum is not None and not value >= minimum:
        raise ValueError(f"{name}: expected a number >= {minimum:g}, got {value}")


def fraction(name: str, value: object) -> None:
    number(name, value)
    if not 0 <= value <= 1:  # type: ignore[operator]
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value}")


def boolean(name: str, value: object) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{name}: expected a bool, got {type_name(value)}")


def integer(name: str, value: object, *, optional: bool = False, minimum: int | None = None) -> None:
    if value is None and optional:
        return
    if not isinstance(value, int | torch.SymInt):
        raise TypeError(f"{name}: expected an int{' or None' if optional else ''}, got {type_name(value)}")
    _fits(name, value)
    if minimum is not None and not value >= minimum:
        raise ValueError(f"{name}: expected an int >= {minimum}, got {value}")


def positive(name: str, value: object) -> None:
    """A size, for which torch takes no bool."""
    if isinstance(value, bool):
        raise TypeError(f"{name}: expected an int, got bool")
    integer(name, value, minimum=1)


def _fits(name: str, value: int | torch.SymInt) -> None:
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}: expected an int of 64 bits, got {value}")


def sizes(name: str, value: object, *, minimum: int = 0) -> None:
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name}: expected a tuple of ints, got {type_name(value)}")
    for size in value:
        integer(name, size, minimum=minimum)


def instance(name: str, value: object, kind: type, what: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected {what}, got {type_name(value)}")


def shape_text(shape: Sequence[int]) -> str:
    return str(tuple(shape))


def broadcast(**tensors: Tensor | None) -> torch.Size:
    """The shape all broadcast to; the first that does not fit is named."""
    shape: torch.Size | None = None
    for name, value in tensors.items():
        if value is None:
            continue
        try:
            shape = value.shape if shape is None else torch.broadcast_shapes(shape, value.shape)
        except RuntimeError:
            before = list(tensors.items())[: list(tensors).index(name)]
            fitting = ", ".join(f"{other} {shape_text(t.shape)}" for other, t in before if t is not None)
            raise ValueError(
                f"{name}: expected a shape that broadcasts with {fitting}, got {shape_text(value.shape)}"
            ) from None
    assert shape is not None
    return shape


def within(shape: Sequence[int], target: str, **tensors: Tensor | None) -> None:
    """Each of `tensors` broadcasts to `shape` without enlarging it."""
    for name, value in tensors.items():
        if value is None:
            continue
        try:
            fits = torch.broadcast_shapes(value.shape, tuple(shape)) == torch.Size(shape)
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"{name}: expected a shape that broadcasts to that of {target} {shape_text(shape)}, "
                f"got {shape_text(value.shape)}"
            )


def key(name: str, value: object, *, device: torch.device | None = None, optional: bool = False) -> None:
    """A key, on the CPU or on the device that the noise is for."""
    if value is None and optional:
        return
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}: expected a uint64 Tensor of shape (2,){' or None' if optional else ''}, got {type_name(value)}"
        )
    if value.dtype != torch.uint64:
        raise TypeError(f"{name}: expected dtype torch.uint64, got {value.dtype}")
    if tuple(value.shape) != (2,):
        raise ValueError(f"{name}: expected shape (2,), got {shape_text(value.shape)}")
    if device is not None and value.device.type not in ("cpu", device.type):
        where = "cpu" if device.type == "cpu" else f"cpu or {device}"
        raise ValueError(f"{name}: expected device {where}, got {value.device}")


def scale(scale_param: object, scale_offset: object, clamp_lo: object, clamp_hi: object, clamp_mode: object) -> None:
    choice("scale_param", scale_param, SCALE_PARAMS)
    number("scale_offset", scale_offset)
    number("clamp", clamp_lo, optional=True)
    number("clamp", clamp_hi, optional=True)
    choice("clamp_mode", clamp_mode, CLAMP_MODES)
    if clamp_lo is not None and clamp_hi is not None and not clamp_lo <= clamp_hi:  # type: ignore[operator]
        raise ValueError(f"clamp: expected lo <= hi, got ({clamp_lo}, {clamp_hi})")
    if clamp_mode == "softclip" and clamp_hi is not None:
        raise ValueError(f"clamp: expected (lo, None) for clamp_mode 'softclip', got ({clamp_lo}, {clamp_hi})")
    if clamp_mode == "tanh" and not (clamp_lo is None and clamp_hi is None):
        symmetric = clamp_lo is not None and clamp_hi is not None and clamp_lo == -clamp_hi and clamp_hi > 0  # type: ignore[operator]
        if not symmetric:
            raise ValueError(f"clamp: expected (-c, c) for clamp_mode 'tanh', got ({clamp_lo}, {clamp_hi})")


def reduction(reduction: object, units: object, event_ndim: object, ndim: int) -> None:
    choice("reduction", reduction, REDUCTIONS)
    choice("units", units, UNITS)
    integer("event_ndim", event_ndim, optional=True, minimum=0)
    if event_ndim is not None and event_ndim > ndim:  # type: ignore[operator]
        raise ValueError(f"event_ndim: expected at most {ndim}, the number of dimensions, got {event_ndim}")


def event_ndim(event_ndim: int | None, ndim: int) -> int:
    """The number of trailing dimensions one datum spans: all but the first by default."""
    return max(ndim - 1, 0) if event_ndim is None else event_ndim


def batch_shape(shape: torch.Size, reduction: str, event: int | None) -> torch.Size:
    """The shape of a loss over elements of `shape`."""
    if reduction == "none":
        return shape
    if reduction == "event":
        return shape[: len(shape) - event_ndim(event, len(shape))]
    return torch.Size(())


def compute_dtype(*tensors: Tensor | None) -> torch.dtype:
    """float64 where any argument is, else float32: what arithmetic and losses use."""
    wide = any(t is not None and t.dtype == torch.float64 for t in tensors)
    return torch.float64 if wide else torch.float32
