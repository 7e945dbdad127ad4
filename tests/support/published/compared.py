"""The same step of a model twice, to be compared: with its code as it is and patched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-4}
"""In float32 the projects' formulas cancel: a bin's mass of 2e-3 is a difference of two numbers near 1/2."""


def at_random(model: nn.Module) -> dict[str, Tensor]:
    """A state of the model with no weight of 0, for which a part could be left out unseen."""
    generator = torch.Generator().manual_seed(1)
    for name, value in model.named_parameters():
        scale = 0.2 if value.dim() != 4 else 0.7 / value[0].numel() ** 0.5
        offset = value.detach().clone() if "norm" in name else 0.0
        value.data = offset + scale * torch.randn(value.shape, generator=generator)
    return model.state_dict()


def step(model: nn.Module, values: Callable[[], Iterable[Tensor]], loss: Callable[..., Tensor]) -> dict[str, Tensor]:
    """The values of a step with seed 3, and the gradients of `loss` of them to all parameters."""
    torch.manual_seed(3)
    found = list(values())
    gradients = torch.autograd.grad(loss(*found), list(model.parameters()), materialize_grads=True)
    by_name = dict(zip((name for name, _ in model.named_parameters()), gradients, strict=True))
    return {str(i): value.detach() for i, value in enumerate(found)} | by_name


def assert_close(found: dict[str, Tensor], expected: dict[str, Any]) -> None:
    """Each within the tolerance, relative to its largest element, or to 1/1000 of the largest of all.

    A bias before batch normalisation has a gradient of 0, of which rounding is all there is.
    """
    assert found.keys() == expected.keys()
    sizes = {name: value.abs().max().item() for name, value in expected.items()}
    least = 1e-3 * max(sizes.values())
    for name, value in expected.items():
        tolerance, size = TOLERANCES[value.dtype], max(sizes[name], least)
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance * size, msg=lambda text, name=name: f"{name}: {text}"
        )
