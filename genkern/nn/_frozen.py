"""Modules whose parameters get no gradient for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["frozen"]


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within the block these modules compute with constants; what they are given still gets a gradient.

    Not by ``requires_grad_``, which a compiler cannot trace.
    """
    held = [
        (owner._parameters, name, parameter)
        for module in modules
        for owner in module.modules()
        for name, parameter in owner._parameters.items()
        if parameter is not None
    ]
    try:
        for parameters, name, parameter in held:
            parameters[name] = parameter.detach()  # type: ignore[assignment]
        yield
    finally:
        for parameters, name, parameter in held:
            parameters[name] = parameter
