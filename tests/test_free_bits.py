"""A floor per datum or over the batch hides no divergence that is not a number."""

import math
from collections.abc import Callable

import pytest
import torch
from support.backends import Backend
from support.inputs import REDUCTIONS, normal
from torch import Tensor

import genkern as gk

KEY = gk.random.key(1)
FLOOR = 50.0  # above every divergence here

# By name: the divergence of a batch of 4 by its first argument, under given options.
DIVERGENCES: dict[str, Callable[..., Tensor]] = {
    "gaussian_kl": lambda x, **options: gk.gaussian_kl(x, normal((4, 6), 1).to(x.dtype), **options),
    "gaussian_rsample_kl": lambda x, **options: gk.gaussian_rsample_kl(
        x, normal((4, 6), 1).to(x.dtype), key=KEY, **options
    )[1],
    "gaussian_rsample_kl_packed": lambda x, **options: gk.gaussian_rsample_kl_packed(x, key=KEY, **options)[1],
    "gaussian_residual_rsample_kl": lambda x, **options: gk.gaussian_residual_rsample_kl(
        *(normal((4, 6), i).to(x.dtype) for i in (1, 2)), x, normal((4, 6), 3).to(x.dtype), key=KEY, **options
    )[1],
    "categorical_kl": lambda x, **options: gk.categorical_kl(x.unflatten(1, (3, 2)), **options),
}
every_divergence = pytest.mark.parametrize("divergence", DIVERGENCES.values(), ids=DIVERGENCES)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("over", ["event", "batch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_divergence
def test_nan_passes_the_floor_in_value_and_gradient(
    divergence: Callable[..., Tensor], dtype: torch.dtype, over: str, reduction: str, backend: Backend
) -> None:
    x = normal((4, 6), 0).to(dtype)
    x[2, 3] = math.nan
    x.requires_grad_()
    options = {"reduction": reduction}
    kl = divergence(x, free_bits=FLOOR, free_bits_over=over, **options)
    free = divergence(x, **options)
    gradient, expected = (torch.autograd.grad(value.sum(), x)[0] for value in (kl, free))
    broken = expected.isnan()
    assert broken[2].any() and torch.equal(gradient.isnan(), broken)
    if over == "batch":  # no datum has a floor of its own
        torch.testing.assert_close((kl, gradient), (free, expected), equal_nan=True)
        return
    assert (gradient[[0, 1, 3]] == 0).all()
    if reduction in ("none", "event"):
        assert torch.equal(kl[2].isnan(), free[2].isnan()) and free[2].isnan().any()
        assert not kl[[0, 1, 3]].isnan().any()
    else:
        assert kl.isnan()


@pytest.mark.parametrize("over", ["event", "batch"])
@every_divergence
def test_a_floor_at_the_divergence_itself_lets_the_gradient_pass(
    divergence: Callable[..., Tensor], over: str, backend: Backend
) -> None:
    x = normal((4, 6), 0)[:1].expand(4, 6).clone().requires_grad_()
    free = divergence(x) if over == "event" else divergence(x).mean()
    floored = divergence(x, free_bits=free.min().item(), free_bits_over=over)
    assert torch.autograd.grad(floored.sum(), x)[0].abs().max() > 0
