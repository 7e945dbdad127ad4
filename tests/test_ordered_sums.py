"""What torch sums for this library has the same bits for every number of threads."""

from collections.abc import Callable

import pytest
import torch
from support.backends import Backend
from support.inputs import REDUCTIONS, normal
from torch import Tensor

import genkern as gk
from genkern.functional import _ordered

LARGE = ((100_003,), (40_000, 3), (1, 70_000), (3, 30_001))  # torch cuts a sum of 32768 elements or more


def same_for_every_number_of_threads(run: Callable[[], list[Tensor]]) -> None:
    seen = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        seen.append(run())
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


def with_gradients(loss: Callable[..., Tensor], *values: Tensor) -> list[Tensor]:
    leaves = [value.detach().clone().requires_grad_() for value in values]
    result = loss(*leaves)
    return [result, *torch.autograd.grad(result.sum() if result.numel() < 32768 else result[:9].sum(), leaves)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", LARGE, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_optimal_scale(dtype: torch.dtype, shape: tuple[int, ...], reduction: str, native: Backend) -> None:
    x, loc = (normal(shape, seed).to(dtype) for seed in (0, 1))
    options = {"reduction": reduction, "clamp": (-6.0, 6.0)}
    same_for_every_number_of_threads(
        lambda: with_gradients(lambda x, loc: gk.gaussian_nll(x, loc, "optimal", **options), x, loc)
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("over", ["event", "batch"])
@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_the_floors_of_data(shape: tuple[int, ...], over: str, reduction: str, native: Backend) -> None:
    loc, logvar = (normal(shape, seed).float() for seed in (0, 1))
    level = gk.gaussian_kl(loc, logvar).mean().item()
    for floor in (0.5 * level, level, 2 * level):
        options = {"free_bits": floor, "free_bits_over": over, "reduction": reduction}
        same_for_every_number_of_threads(
            lambda options=options: with_gradients(lambda *values: gk.gaussian_kl(*values, **options), loc, logvar)
        )


def test_the_densities_beside_a_floor(native: Backend) -> None:
    values = [normal((40_000, 2), seed).float() for seed in range(4)]
    options = {"free_bits": 1.0, "free_bits_over": "batch", "reduction": "sum", "key": gk.random.key(0)}
    same_for_every_number_of_threads(lambda: list(gk.gaussian_residual_rsample_kl(*values, **options)[1:]))


@pytest.mark.parametrize("dims", [None, (0,), (1,), (0, 1), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("shape", [(3, 1, 40_000), (1, 100_003, 1), (40_000, 2, 3), (2, 5, 7), (0, 4, 2)])
def test_a_sum_is_that_of_torch(shape: tuple[int, ...], dims: tuple[int, ...] | None) -> None:
    values = normal(shape, 0).requires_grad_()
    for keepdim in (False, True):
        expected = values.sum(dims, keepdim=keepdim)
        got = _ordered.total(values, dims, keepdim=keepdim and dims is not None)
        if dims is None:
            expected = expected.sum()
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-10)
        assert torch.equal(torch.autograd.grad(got.sum(), values)[0], torch.autograd.grad(expected.sum(), values)[0])
    same_for_every_number_of_threads(lambda: [_ordered.total(values, dims)])


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 100_003, 1), (40_000, 1, 1), (2, 5, 7), (1, 1, 70_000)])
def test_a_log_of_a_sum_of_exponentials_is_that_of_torch(shape: tuple[int, ...], dim: int) -> None:
    values = 5 * normal(shape, 0)
    torch.testing.assert_close(_ordered.logsumexp(values, dim), values.logsumexp(dim))
    same_for_every_number_of_threads(lambda: [_ordered.logsumexp(values, dim)])


@pytest.mark.parametrize("shape", [(), (3, 4), (100_003,), (5, 1, 40_000)])
def test_a_spread_value_is_everywhere_and_its_gradient_one_sum(shape: tuple[int, ...]) -> None:
    value = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    weights = normal(shape, 0)
    assert (_ordered.spread(value, shape) == value).all()

    def gradient() -> list[Tensor]:
        return list(torch.autograd.grad((_ordered.spread(value, shape) * weights).sum(), value))

    torch.testing.assert_close(gradient()[0], weights.sum(), rtol=1e-12, atol=1e-10)
    same_for_every_number_of_threads(gradient)


def test_nothing_has_the_mean_nan() -> None:
    assert _ordered.mean(torch.zeros(0)).isnan() and _ordered.mean(torch.zeros(0, 2), 0).isnan().all()
