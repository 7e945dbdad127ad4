"""Argument checks: every error names the argument, what was expected and what came.

The compiled operations know the same rules without words; these run where the reference runs, in the fake kernels,
and to explain a call that was refused. They read types, shapes and options, never data.

Those of options return the option as torch takes it: a float, an int, a bool, or the symbol of one that a compiler
traces. A number is what Python's own tower of numbers holds, numpy's scalars among them. A tensor is none, since its
value would leave the graph.
"""

import operator
from collections.abc import Callable, Collection, Sequence
from functools import partial
from numbers import Integral, Rational, Real
from typing import Any

import torch
from torch import Tensor

SCALE_PARAMS = ("logvar", "logstd", "std", "var", "softplus")
CLAMP_MODES = ("hard", "straight_through", "softclip", "tanh")
REDUCTIONS = ("event", "none", "sum", "mean", "batchmean")
UNITS = ("nats", "bits", "bits_per_dim")
FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
INTEGERS = (torch.int16, torch.int32, torch.int64)
_SYMBOLS = (torch.SymInt, torch.SymFloat)


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


def counts(name: str, value: object) -> None:
    """The same, or one of integers."""
    if isinstance(value, Tensor) and value.dtype in INTEGERS:
        return
    if isinstance(value, Tensor) and value.dtype not in FLOATING:
        raise TypeError(f"{name}: expected a floating dtype, int16, int32 or int64, got {value.dtype}")
    tensor(name, value)


def tensors(*, optional: Collection[str] = (), **values: Any) -> None:
    """Floating tensors on one device; None will do for those named in `optional`."""
    for name, value in values.items():
        tensor(name, value, optional=name in optional)
    same_device(**values)


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
    if isinstance(value, torch.device):
        return value
    try:
        if isinstance(value, str):
            return torch.device(value)
    except RuntimeError as error:
        raise ValueError(f"{name}: expected a torch device, got {value!r}") from error
    raise TypeError(f"{name}: expected a torch.device or str, got {type_name(value)}")


def dtype(name: str, value: object) -> Any:
    if isinstance(value, torch.dtype) and value in FLOATING:
        return value
    got = value if isinstance(value, torch.dtype) else type_name(value)
    raise TypeError(f"{name}: expected float64, float32, bfloat16 or float16, got {got}")


def text(name: str, value: object) -> Any:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a str, got {type_name(value)}")
    return value


def choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if text(name, value) not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")


def number(name: str, value: Any, *, optional: bool = False, minimum: float | None = None) -> Any:
    if value is None and optional:
        return None
    if type(value) is not float and not isinstance(value, _SYMBOLS):
        if not isinstance(value, Real):
            raise TypeError(f"{name}: expected a number{' or None' if optional else ''}, got {type_name(value)}")
        try:
            value = float(value)
        except OverflowError:
            raise ValueError(f"{name}: expected a number in the range of float64, got {_shown(value)}") from None
    if minimum is not None and not value >= minimum:
        raise ValueError(f"{name}: expected a number >= {minimum:g}, got {value}")
    return value


def positive_number(name: str, value: Any) -> Any:
    value = number(name, value)
    if not value > 0:
        raise ValueError(f"{name}: expected a positive number, got {value}")
    return value


def fraction(name: str, value: Any) -> Any:
    value = number(name, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value}")
    return value


def boolean(name: str, value: Any) -> bool:
    """A flag: True, False, 1 or 0, of numpy's types, too."""
    if isinstance(value, bool):
        return value
    if (type(value).__module__, type(value).__name__.rstrip("_")) == ("numpy", "bool"):
        return bool(value)
    if not isinstance(value, Integral):
        raise TypeError(f"{name}: expected a bool, got {type_name(value)}")
    if value not in (0, 1):
        raise ValueError(f"{name}: expected a bool, 0 or 1, got {_shown(value)}")
    return bool(value)


def integer(name: str, value: Any, *, optional: bool = False, minimum: int | None = None) -> Any:
    """An int of 64 bits."""
    if value is None and optional:
        return None
    value = whole(name, value, optional=optional)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}: expected an int of 64 bits, got {_shown(value)}")
    if minimum is not None and not value >= minimum:
        raise ValueError(f"{name}: expected an int >= {minimum}, got {value}")
    return value


def whole(name: str, value: Any, *, optional: bool = False) -> Any:
    """An int of any size."""
    if type(value) is int or isinstance(value, torch.SymInt):
        return value
    if not isinstance(value, Integral):
        raise TypeError(f"{name}: expected an int{' or None' if optional else ''}, got {type_name(value)}")
    return operator.index(value)


def positive(name: str, value: object) -> Any:
    """A size, for which torch takes no bool."""
    if isinstance(value, bool):
        raise TypeError(f"{name}: expected an int, got bool")
    return integer(name, value, minimum=1)


def _shown(value: Any) -> str:
    """A number as messages show it: Python refuses to write an int of more than a few thousand digits."""
    if isinstance(value, Rational) and not isinstance(value, Integral):
        return type_name(value)
    large = isinstance(value, Integral) and operator.index(value).bit_length() > 128
    return f"an int of {operator.index(value).bit_length()} bits" if large else str(value)


def sizes(name: str, value: object, *, minimum: int = 0) -> tuple[Any, ...]:
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name}: expected a tuple of ints, got {type_name(value)}")
    return tuple([integer(name, size, minimum=minimum) for size in value])


def numbers(name: str, value: object) -> list[Any]:
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name}: expected a tuple of numbers, got {type_name(value)}")
    return [number(name, each) for each in value]


_OF_TYPE: dict[str, Callable[..., Any]] = {
    "float": number,
    "int": integer,
    "bool": boolean,
    "str": text,
    "List[int]": sizes,
    "List[float]": numbers,
    "ScalarType": dtype,
    "Device": device,
}


def of_type(schema_type: str) -> Callable[[str, object], Any] | None:
    """The check of an option by its type in a schema; None for what is no option: a tensor or a generator."""
    inner = schema_type.removeprefix("Optional[")
    if inner == schema_type:
        return _OF_TYPE.get(schema_type)
    check = _OF_TYPE.get(inner.removesuffix("]"))
    return None if check is None else partial(check, optional=True)


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


def noise(
    key_: object, eps: object, shape: Sequence[int], what: str = "that of the sample", /, **parameters: Tensor
) -> None:
    """Exactly one of key and eps; `shape` is that of the noise, `parameters` are what else the sample is made of."""
    key("key", key_, device=next(iter(parameters.values())).device, optional=True)
    tensor("eps", eps, optional=True)
    assert eps is None or isinstance(eps, Tensor)
    same_device(**parameters, eps=eps)
    if (key_ is None) == (eps is None):
        raise ValueError(f"key, eps: expected exactly one of the two, got {'neither' if key_ is None else 'both'}")
    if eps is not None and tuple(eps.shape) != tuple(shape):
        raise ValueError(f"eps: expected shape {shape_text(shape)}, {what}, got {shape_text(eps.shape)}")


def compute_dtype(*tensors: Tensor | None) -> torch.dtype:
    """float64 where any argument is, else float32: what arithmetic and losses use."""
    wide = any(t is not None and t.dtype == torch.float64 for t in tensors)
    return torch.float64 if wide else torch.float32
