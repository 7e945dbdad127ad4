"""Arguments for a scale, from public functions to operations."""

from torch import Tensor

from genkern import _checks
from genkern.reference.options import Sigma

Clamp = tuple[float | None, float | None]


def sigma_arguments(
    scale_param: str, scale_offset: float, clamp: Clamp | None, clamp_mode: str
) -> tuple[str, float, float | None, float | None, str]:
    """The fields of a `Sigma` in their order, flat, as a call passes them on."""
    if clamp is None:
        clamp = None, None
    elif not isinstance(clamp, tuple | list):
        raise TypeError(f"clamp: expected (lo, hi) or None, got {_checks.type_name(clamp)}")
    elif len(clamp) != 2:
        raise ValueError(f"clamp: expected (lo, hi) or None, got {len(clamp)} values")
    return scale_param, scale_offset, *clamp, clamp_mode


def checked_sigma(scale_param: str, scale_offset: float, clamp: Clamp | None, clamp_mode: str) -> Sigma:
    return Sigma(*sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)).check()


def learned_or_constant(scale: Tensor | float) -> tuple[Tensor | None, float]:
    """A scale as operations take it: a tensor, or none and the constant."""
    return (scale, 0.0) if isinstance(scale, Tensor) else (None, scale)
