"""The optimal scale where there is no error, next to none, or too much of it."""

import math

import pytest
import torch
from support.backends import Backend
from support.inputs import REDUCTIONS, normal

import genkern as gk

CLAMPS = {
    "hard": {"clamp": (-6.0, 6.0)},
    "hard, below": {"clamp": (-6.0, None)},
    "straight_through": {"clamp": (-6.0, 6.0), "clamp_mode": "straight_through"},
    "softclip": {"clamp": (-6.0, None), "clamp_mode": "softclip"},
    "tanh": {"clamp": (-6.0, 6.0), "clamp_mode": "tanh"},
}
every_clamp = pytest.mark.parametrize("clamp", CLAMPS.values(), ids=CLAMPS)
every_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def parts(x, loc, **options):
    """The value, and its gradients by both."""
    x, loc = (t.detach().clone().requires_grad_() for t in (x, loc))
    value = gk.gaussian_nll(x, loc, "optimal", **options)
    return value.detach(), *torch.autograd.grad(value.sum(), (x, loc))


@every_dtype
@every_reduction
@every_clamp
def test_without_error_a_clamped_scale_is_its_bound_and_the_gradient_zero(clamp, reduction, dtype, backend: Backend):
    x = normal((3, 4), 0).to(dtype)
    value, *gradients = parts(x, x, reduction=reduction, **clamp)
    expected = gk.gaussian_nll(x, x, -6.0, reduction=reduction)
    torch.testing.assert_close(value, expected)
    assert all((g == 0).all() for g in gradients)


@every_dtype
@every_reduction
def test_without_error_or_clamp_the_density_is_infinite_and_the_gradient_zero(reduction, dtype, backend: Backend):
    x = normal((3, 4), 0).to(dtype)
    value, *gradients = parts(x, x, reduction=reduction)
    assert (value == -math.inf).all() and all((g == 0).all() for g in gradients)


@pytest.mark.parametrize("clamp", [{}, *CLAMPS.values()], ids=["none", *CLAMPS])
@every_reduction
@every_dtype
def test_the_way_to_no_error_is_without_nan(dtype, reduction, clamp, backend: Backend):
    """A perfect fit of all elements but some, whose errors become subnormal and underflow."""
    for exponent in range(170 if dtype == torch.float64 else 25):
        x = torch.zeros(3, 4, dtype=dtype)
        x[0, :3] = 10.0**-exponent
        value, *gradients = parts(x, torch.zeros_like(x), reduction=reduction, **clamp)
        assert all(g.isfinite().all() for g in gradients), exponent
        underflown = not clamp and (x.square() / 12).sum() == 0
        assert (value == -math.inf).all() if underflown else value.isfinite().all(), exponent


@every_dtype
@every_reduction
def test_the_value_next_to_no_error_is_that_of_the_definition(reduction, dtype, backend: Backend):
    """The mean squared error is barely a normal number: its reciprocal is finite, the square of that is not."""
    x = normal((3, 4), 0).to(dtype) * (1e-18 if dtype == torch.float32 else 1e-153)
    value, gradient, _ = parts(x, torch.zeros_like(x), reduction=reduction)
    scaled = x.double() * (1e18 if dtype == torch.float32 else 1e153)
    at_one, slope, _ = parts(scaled, torch.zeros_like(scaled), reduction=reduction)
    shift = math.log(1e-18 if dtype == torch.float32 else 1e-153)
    if reduction in ("event", "sum", "batchmean"):
        shift *= 12 if reduction == "sum" else 4
    torch.testing.assert_close(value.double(), at_one + shift, rtol=1e-5, atol=1e-5)
    back = gradient.double() * (1e-18 if dtype == torch.float32 else 1e-153)
    torch.testing.assert_close(back, slope, rtol=1e-4, atol=1e-5)


@every_reduction
def test_an_error_without_a_number_passes(reduction, backend: Backend):
    for bad in (math.nan, math.inf):
        x = normal((3, 4), 0).float()
        x[1, 2] = bad
        value = gk.gaussian_nll(x, torch.zeros_like(x), "optimal", reduction=reduction)
        assert not value.isfinite().any()
        assert (value == math.inf).all() if bad == math.inf else value.isnan().all()
