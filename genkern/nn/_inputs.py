"""Checks of the parts and inputs of modules, whose errors name the argument, as torch's would not."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genkern import _checks, random
from genkern.functional._scale import Clamp, checked_sigma


def factory(device: torch.device | str | None, dtype: torch.dtype | None) -> dict[str, Any]:
    """The device and the type of parameters, as torch's modules take them."""
    if dtype is not None:
        _checks.dtype("dtype", dtype)
    return {"device": None if device is None else _checks.device("device", device), "dtype": dtype}


def scale_options(scale_param: str, scale_offset: float, clamp: Clamp | None, clamp_mode: str) -> dict[str, Any]:
    """The options that say what a scale holds, for functions that take them."""
    checked_sigma(scale_param, scale_offset, clamp, clamp_mode)
    return {"scale_param": scale_param, "scale_offset": scale_offset, "clamp": clamp, "clamp_mode": clamp_mode}


def check_input(
    name: str, value: object, event_shape: Sequence[int], module: nn.Module, *, any_batch: bool = False
) -> None:
    """`value` is a batch of data of `event_shape`, where the parameters of `module` lie and of their type."""
    _checks.tensor(name, value)
    assert isinstance(value, Tensor)
    batch = value.ndim - len(event_shape)
    if batch < 0 or value.shape[batch:] != torch.Size(event_shape) or not (any_batch or batch == 1):
        expected = ", ".join(["..." if any_batch else "B", *map(str, event_shape)])
        raise ValueError(f"{name}: expected shape ({expected}), got {_checks.shape_text(value.shape)}")
    parameter = next(module.parameters(), value)
    if value.device != parameter.device:
        raise ValueError(f"{name}: expected device {parameter.device}, that of the parameters, got {value.device}")
    if value.dtype != parameter.dtype and not torch.is_autocast_enabled(value.device.type):
        raise TypeError(f"{name}: expected dtype {parameter.dtype}, that of the parameters, got {value.dtype}")


def check_augment(augment: object) -> None:
    if augment is not None and not callable(augment):
        raise TypeError(f"augment: expected a function of a batch or None, got {_checks.type_name(augment)}")


def packed_moments(name: str, module: nn.Module, *seen: Any, **options: Any) -> Tensor:
    """The packed moments of a Gaussian that an encoder or a prior gives, after a check."""
    moments = module(*seen, **options)
    _checks.tensor(name, moments)
    if moments.ndim < 2 or moments.shape[1] % 2:
        raise ValueError(
            f"{name}: expected packed moments with an even size along dimension 1, got {tuple(moments.shape)}"
        )
    return moments


def check_keys(keys: object) -> None:
    """Keys of several draws, as `genkern.random.split` makes them."""
    _checks.instance("keys", keys, Tensor, "a uint64 Tensor of shape (K, 2)")
    assert isinstance(keys, Tensor)
    if keys.dtype != torch.uint64:
        raise TypeError(f"keys: expected dtype torch.uint64, got {keys.dtype}")
    if keys.dim() != 2 or keys.shape[1] != 2 or len(keys) == 0:
        raise ValueError(f"keys: expected shape (K, 2) with K >= 1, got {tuple(keys.shape)}")


def floating_like(module: nn.Module) -> Tensor:
    """A tensor of the type and on the device in which `module` is given latents: its parameters', if it has any."""
    return next(module.parameters(), torch.empty(0))


def one_key(device: torch.device, *, key: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
    """One key for a call that needs several: `key`, or one drawn from `generator` or torch's own of `device`."""
    if key is not None and generator is not None:
        raise ValueError("key, generator: expected at most one of them, got both")
    return random.reserve(generator, device) if key is None else key
