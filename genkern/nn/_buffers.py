"""Buffers that a module counts or averages in, under every transform of it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_buffers(
    module: nn.Module, names: Sequence[str], rule: Callable[..., Sequence[Tensor]], *seen: Tensor
) -> None:
    """The buffers become ``rule(*buffers, *seen)``, in place: a captured CUDA graph counts its replays.

    A transform of ``torch.func`` refuses to change what it did not make. Buffers of the module are changed below the
    transforms then, by what was `seen` there, with the dimensions that ``torch.func.vmap`` maps over; those that
    ``torch.func.functional_call`` was given and a transform has made its own are replaced, and go where that puts them.
    """
    buffers = [getattr(module, name) for name in names]
    # A compiled backward may need the old ones again, by which time those changed in place have moved on.
    if torch.compiler.is_compiling() or any(map(_is_wrapped, buffers)):
        for name, value in zip(names, rule(*buffers, *seen), strict=True):
            setattr(module, name, value)
        return
    with torch._C._DisableFuncTorch():
        for buffer, value in zip(buffers, rule(*buffers, *map(_unwrapped, seen)), strict=True):
            buffer.copy_(value)


def _is_wrapped(value: Tensor) -> bool:
    return torch._C._functorch.is_functorch_wrapped_tensor(value)


def _unwrapped(value: Tensor) -> Tensor:
    while _is_wrapped(value):
        value = torch._C._functorch.get_unwrapped(value)
    return value
