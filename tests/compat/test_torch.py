"""genkern.compat.torch beside torch itself: what either takes, what either refuses, and the values and gradients."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.inputs import normal
from torch import Tensor
from torch.nn import functional as F

from genkern.compat.torch import gaussian_nll_loss

Shape = tuple[int, ...]
REFUSALS = (ValueError, TypeError, RuntimeError)
"""torch has no one word for it."""


def variance(shape: Shape) -> Tensor:
    return normal(shape, 2).square() + 1e-3


def outcome(function: Any, *arguments: Any, **options: Any) -> list[Tensor] | Exception:
    """The value and all gradients, or the refusal."""
    leaves = [a.clone().requires_grad_() if isinstance(a, Tensor) and a.is_floating_point() else a for a in arguments]
    try:
        value = function(*leaves, **options)
    except REFUSALS as error:
        return error
    wanted = [a for a in leaves if isinstance(a, Tensor) and a.requires_grad]
    return [value, *torch.autograd.grad(value.sin().sum(), wanted)]


def assert_alike(*arguments: Any, names: str, **options: Any) -> None:
    """Both take the arguments, with the same result, or both refuse them; ours by the name of one of `names`."""
    found = outcome(gaussian_nll_loss, *arguments, **options)
    expected = outcome(F.gaussian_nll_loss, *arguments, **options)
    if isinstance(expected, Exception):
        assert isinstance(found, ValueError | TypeError), found
        assert str(found).partition(":")[0] in names.split(", ") and "expected" in str(found) and "got" in str(found)
        return
    assert not isinstance(found, Exception), found
    for mine, its in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, its, equal_nan=True)


def candidates(input_shape: Shape) -> Iterator[Shape]:
    """Every shape that broadcasts with the input's, one dimension more at most, and those that miss it by one size."""
    for kept in range(len(input_shape) + 1):
        last = input_shape[len(input_shape) - kept :]
        yield from itertools.product(*({1, size, size + 1} for size in last))
        yield last[:-1]
    yield from ((1, *input_shape), (2, *input_shape), input_shape[:-1], input_shape[1:])


@pytest.mark.parametrize("input_shape", [(4, 3, 2, 2), (4, 1, 3, 2), (5, 2), (3,), (), (1, 1), (0, 3), (3, 0)], ids=str)
def test_variances_of_every_shape_are_taken_or_refused_as_by_torch(input_shape: Shape) -> None:
    x, y = normal(input_shape, 0), normal(input_shape, 1)
    for shape in sorted({*candidates(input_shape)}):
        if shape or len(input_shape) < 2:  # one number for all is taken here, see below
            assert_alike(x, y, variance(shape), names="var", reduction="none", full=True)
            assert_alike(x, y, variance(shape), names="var")


@given(
    st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.booleans(), st.integers(0, 2)), max_size=4), st.integers(0)
)
def test_inputs_targets_and_variances_broadcast_as_in_torch(
    dims: list[tuple[int, bool, bool, int]], skipped: int
) -> None:
    """Each of the three has a dimension's size, a 1, or, for the variance, now and then a size that fits neither."""
    x = normal(tuple(1 if one else size for size, one, _, _ in dims), 0)
    y = normal(tuple(1 if one else size for size, _, one, _ in dims)[skipped % (len(dims) + 1) :], 1)
    shape = tuple((1, x.shape[i], size + 1)[kind] for i, (size, _, _, kind) in enumerate(dims))
    for tried in {shape, shape[:-1], x.shape}:
        if tried or x.dim() < 2:
            assert_alike(x, y, variance(tried), names="var", reduction="none")


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_one_variance_for_all_is_a_number_or_a_0_dim_tensor(reduction: str) -> None:
    x, y = normal((2, 3, 4), 0), normal((2, 3, 4), 1)
    expected = F.gaussian_nll_loss(x, y, 0.7, reduction=reduction)
    for var in (0.7, torch.tensor(0.7, dtype=torch.float64)):
        torch.testing.assert_close(gaussian_nll_loss(x, y, var, reduction=reduction), expected)


@pytest.mark.parametrize("var", [0.0, 1e-9, 2.0, float("inf"), float("nan"), -1.0, "one", None], ids=str)
def test_numbers_are_taken_or_refused_as_by_torch(var: Any) -> None:
    assert_alike(normal((3, 2), 0), normal((3, 2), 1), var, names="var", reduction="none")


@pytest.mark.parametrize("eps", [1e-6, 0.5, 1, 0, 0.0, -1.0, float("inf")], ids=str)
@pytest.mark.parametrize("least", [0.0, 1e-9, 1e-3])
def test_any_floor_is_taken(eps: float, least: float) -> None:
    var = torch.tensor([least, 0.3, 1.0, 7.0], dtype=torch.float64)
    assert_alike(normal((4,), 0), normal((4,), 1), var, names="", eps=eps, reduction="none")


def test_what_is_no_floor_is_refused() -> None:
    x = normal((3,), 0)
    for eps in (float("nan"), None, torch.tensor(1e-6)):
        with pytest.raises((ValueError, TypeError), match="eps: expected a number, got"):
            gaussian_nll_loss(x, x, x.square(), eps=eps)
    for reduction in ("batchmean", None):
        with pytest.raises((ValueError, TypeError), match="reduction: expected"):
            gaussian_nll_loss(x, x, x.square(), reduction=reduction)


DTYPES = [torch.float64, torch.float32, torch.int64, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtypes", list(itertools.product(DTYPES, repeat=3)), ids=str)
def test_types_are_taken_or_refused_as_by_torch(dtypes: tuple[torch.dtype, ...]) -> None:
    x, y, var = (torch.tensor(values).to(dtype) for values, dtype in zip(([3, 1], [1, 2], [2, 5]), dtypes, strict=True))
    expected = outcome(F.gaussian_nll_loss, x, y, var, reduction="none")
    found = outcome(gaussian_nll_loss, x, y, var, reduction="none")
    if isinstance(expected, Exception):
        assert isinstance(found, TypeError) and str(found).split(":")[0] in ("input", "target", "var")
    else:
        assert not isinstance(found, Exception), found
        torch.testing.assert_close(found, expected)
