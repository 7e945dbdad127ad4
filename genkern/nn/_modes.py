"""Modules that are in another state within a block: in evaluation mode, or without gradients of their parameters."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Within the block these modules are in evaluation mode; after it each part of them has the mode that it had.

    ``train`` would give all parts of a module one mode.
    """
    training = [part for module in modules for part in module.modules() if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within the block these modules compute with constants; what they are given still gets a gradient.

    A compiler cannot trace ``requires_grad_``.
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
