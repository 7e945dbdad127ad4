"""The likelihoods of counts: tables by mpmath, limits, edges, counts of every type."""

import functools
import itertools
import math
from typing import Any

import mpmath
import pytest
import torch
from mpmath import mpf
from support.backends import Backend
from support.inputs import normal
from torch import Tensor
from torch.distributions import NegativeBinomial

import genkern as gk
from benchmarks.rivals import negative_binomial

INF, NAN = math.inf, math.nan
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
RIGHT = {torch.float64: 1e-12, torch.float32: 3e-6}
"""What a result may be off by, relative to itself where it is larger than 1."""

COUNTS = (0, 1, 2, 3, 5, 8, 9, 10, 100, 1e3, 1e5, 1e6, 0.5, -0.3, 7.5)
THETAS = (1e-6, 2.0**-12, 1e-3, 0.1, 1.0, 10.0, 64.0, 65.0, 1e3, 1e4, 1e6, 1e8, 1e12)
MEANS = (1e-30, 1e-5, 0.1, 1.0, 30.0, 1e3, 1e6, 1e12, 1e30)
NEAR = (1.0, 1.0 + 1e-6, 1.001, 0.99, 1.1, 0.5)
LOGITS = (-1e4, -50.0, -3.0, 0.0, 2.0, 40.0, 1e4)


def gradients(nll: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(nll.sum(), leaves)


@functools.cache
def table(dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Counts, means, inverse dispersions and logits of losing a count, of every size and of means near the count."""
    rows = []
    for x, theta in itertools.product(COUNTS, THETAS):
        means = (*MEANS, *(x * near for near in NEAR)) if x > 0 else MEANS
        rows += [(x, mean, theta) for mean in means if x + theta > 0]
    logits = [LOGITS[k % len(LOGITS)] for k in range(len(rows))]
    columns = (*zip(*rows, strict=True), logits)
    return tuple(torch.tensor(column, dtype=torch.float64).to(dtype) for column in columns)


@functools.cache
def truth_of(dtype: torch.dtype, inflated: bool) -> Tensor:
    """The loss, and its derivatives by all arguments."""
    with mpmath.workdps(50):
        rows = [exact(*map(mpf, row)) for row in zip(*(column.tolist() for column in table(dtype)), strict=True)]
        return torch.tensor([[float(v) for v in row[inflated]] for row in rows], dtype=torch.float64)


def exact(x: mpf, mean: mpf, theta: mpf, logit: mpf) -> tuple[list[mpf], list[mpf]]:
    """Of a negative binomial distribution, and of a zero-inflated one."""
    n = theta + x
    odds, chances = mpmath.log1p(mean / theta), mpmath.log1p(theta / mean)
    nll = mpmath.loggamma(x + 1) - mpmath.loggamma(n) + mpmath.loggamma(theta) + theta * odds + x * chances
    by_x = mpmath.digamma(x + 1) - mpmath.digamma(n) + chances
    by_mean = theta * (mean - x) / (mean * (theta + mean))
    by_theta = mpmath.digamma(theta) - mpmath.digamma(n) + odds + (x - mean) / (theta + mean)
    kept, lost = 1 / (1 + mpmath.exp(logit)), 1 / (1 + mpmath.exp(-logit))
    if x != 0:
        return [nll, by_x, by_mean, by_theta], [nll - mpmath.log(kept), by_x, by_mean, by_theta, lost]
    zero = lost + kept * mpmath.exp(-nll)
    missing = kept * -mpmath.expm1(-nll)
    inflated = -mpmath.log1p(-missing) if missing < 0.5 else -mpmath.log(zero)
    share = kept * mpmath.exp(-nll) / zero
    by_logit = -lost * missing / zero
    return [nll, by_x, by_mean, by_theta], [inflated, mpf(0), share * by_mean, share * by_theta, by_logit]


BY_X = pytest.mark.parametrize("by_x", [True, False], ids=["by-x", "not-by-x"])
"""Where no gradient by the counts is asked for, 0 and small ones take formulas of their own."""


@DTYPES
@BY_X
def test_a_negative_binomial_is_right_for_every_size(every_isa: Backend, dtype: torch.dtype, by_x: bool) -> None:
    arguments = [t.clone().requires_grad_(by_x or k > 0) for k, t in enumerate(table(dtype)[:3])]
    nll = gk.negative_binomial_nll(*arguments, event_ndim=0)
    check(nll, arguments, truth_of(dtype, False), every_isa)


@DTYPES
@BY_X
def test_a_zero_inflated_one_is_right_for_every_size(every_isa: Backend, dtype: torch.dtype, by_x: bool) -> None:
    arguments = [t.clone().requires_grad_(by_x or k > 0) for k, t in enumerate(table(dtype))]
    nll = gk.zero_inflated_negative_binomial_nll(*arguments, event_ndim=0)
    check(nll, arguments, truth_of(dtype, True), every_isa)


def check(nll: Tensor, arguments: list[Tensor], truth: Tensor, backend: Backend) -> None:
    dtype = nll.dtype
    d_x = [] if arguments[0].requires_grad else [truth[:, 1]]
    slopes = gradients(nll, *(t for t in arguments if t.requires_grad))
    found = torch.stack([nll, *d_x, *slopes], 1).double()
    off = (found - truth).abs() / truth.abs().clamp(min=1)
    if backend.mode == "reference":
        # Autograd through the definition rounds what 1 / theta makes large, and leaves the range of float.
        off[:, 1:] = torch.where(torch.tensor(dtype == torch.float32), 0.0, off[:, 1:])
        off[:, 3] = torch.where(arguments[2] < 1, 0.0, off[:, 3])
    worst = off.max(0)
    place = worst.indices[worst.values.argmax()]
    assert (off <= RIGHT[dtype]).all(), (worst.values, [t[place].item() for t in arguments], truth[place])


@pytest.mark.parametrize("mean_param", ["mean", "log", "logits"])
@pytest.mark.parametrize("dispersion_param", ["value", "log"])
def test_parameters_are_those_of_their_names(every_isa: Backend, mean_param: str, dispersion_param: str) -> None:
    x, _, _, _ = problem()
    _, mean, theta, _ = (t.requires_grad_() for t in problem())
    given = {"mean": mean, "log": mean.log(), "logits": (mean / theta).log()}[mean_param]
    dispersion = theta.log() if dispersion_param == "log" else theta
    options = {"mean_param": mean_param, "dispersion_param": dispersion_param}
    nll, plain = gk.negative_binomial_nll(x, given, dispersion, **options), gk.negative_binomial_nll(x, mean, theta)
    expected = -NegativeBinomial(theta, logits=(mean / theta).log()).log_prob(x).sum(1)
    torch.testing.assert_close(nll, expected, rtol=1e-11, atol=0)  # torch's is a difference of log Gamma
    torch.testing.assert_close(plain, nll, rtol=1e-13, atol=0)
    by_name, by_value = gradients(nll, mean, theta), gradients(plain, mean, theta)
    torch.testing.assert_close(by_name, by_value, rtol=1e-11, atol=1e-12)


def problem() -> tuple[Tensor, ...]:
    x = (4 * normal((5, 300), 1).abs() - 3).clamp(min=0).round()
    return x, normal((5, 300), 2).exp(), normal((5, 300), 3).exp(), normal((5, 300), 4)


def test_a_large_inverse_dispersion_is_a_poisson_distribution(every_isa: Backend) -> None:
    x, mean, _, _ = problem()
    for theta in (1e16, 1e100, INF):
        nll = gk.negative_binomial_nll(x, mean, torch.tensor(theta, dtype=torch.float64), reduction="none")
        torch.testing.assert_close(nll, gk.poisson_nll(x, mean, reduction="none"), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("dtype", "theta"), [(torch.float64, 1e13), (torch.float32, 1e5)])
def test_the_usual_formula_is_wrong_where_this_one_is_right(
    every_isa: Backend, dtype: torch.dtype, theta: float
) -> None:
    """scvi-tools' loses more than 1 % at a large inverse dispersion, where the limit is all but exact."""
    x, mean, t = (torch.tensor([[v]], dtype=dtype) for v in (3.0, 2.0, theta))
    limit = gk.poisson_nll(x, mean).item()
    (usual,) = negative_binomial(x, mean, t)
    assert abs(usual.item() - limit) > 0.01 * limit
    assert abs(gk.negative_binomial_nll(x, mean, t).item() - limit) < 2e-5 * limit  # variance 2 + 4 / theta


@DTYPES
def test_an_element_has_its_bits_whatever_lies_beside_it(every_isa: Backend, dtype: torch.dtype) -> None:
    """Small counts, large ones and zeros take different formulas, in vectors that hold all of them."""
    arguments = [
        torch.cat([t, u]) for t, u in zip(table(dtype), (t.flatten().to(dtype) for t in problem()), strict=True)
    ]
    order = torch.randperm(len(arguments[0]), generator=torch.Generator().manual_seed(0))
    rtol = 0 if every_isa.mode == "native" else 1e-6  # torch rounds what fills no vector in its own way
    for call, count in (
        (gk.poisson_nll, 2),
        (gk.negative_binomial_nll, 3),
        (gk.zero_inflated_negative_binomial_nll, 4),
    ):
        found = []
        for some in (slice(None), order):
            x, *others = (t[some].clone() for t in arguments[:count])
            leaves = [t.requires_grad_() for t in others]
            nll: Any = call(x, *leaves, reduction="none")
            found.append([nll, *gradients(nll, *leaves)])
        for straight, shuffled in zip(*found, strict=True):
            torch.testing.assert_close(straight[order], shuffled, rtol=rtol, atol=0, equal_nan=True)


def test_masses_add_up_to_one(every_isa: Backend) -> None:
    x = torch.arange(4000, dtype=torch.float64)
    for mean, theta, logit in ((0.3, 0.05, 0.0), (30.0, 2.0, -2.0), (500.0, 1e4, 3.0)):
        mean, theta, logit = (torch.tensor(v, dtype=torch.float64) for v in (mean, theta, logit))
        plain = gk.negative_binomial_nll(x, mean, theta, reduction="none")
        inflated = gk.zero_inflated_negative_binomial_nll(x, mean, theta, logit, reduction="none")
        for nll in (plain, inflated):
            assert abs(nll.neg().exp().sum().item() - 1) < 1e-12


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_integers_are_read_as_they_are(every_isa: Backend, dtype: torch.dtype) -> None:
    x, *parameters = problem()
    whole = x.to(dtype)
    for layout in (whole, whole.t().contiguous().t(), whole[:, ::2], whole[:1].expand(5, 300)):
        floating = layout.to(torch.float64)
        some = [t[:, : layout.shape[1]].requires_grad_() for t in parameters]
        for call, count in (
            (gk.poisson_nll, 1),
            (gk.negative_binomial_nll, 2),
            (gk.zero_inflated_negative_binomial_nll, 3),
        ):
            found: Any = call(layout, *some[:count])
            expected: Any = call(floating, *some[:count])
            assert torch.equal(found, expected)
            for a, b in zip(gradients(found, *some[:count]), gradients(expected, *some[:count]), strict=True):
                assert torch.equal(a, b)
    assert gk.poisson_nll(whole, parameters[0].float()).dtype == torch.float32


def test_what_is_no_count_is_nan(every_isa: Backend) -> None:
    x = torch.tensor([-1.0, -2.5, NAN, 0.0, 2.0, 2.0, 0.0])
    mean = torch.tensor([1.0, 1.0, 1.0, NAN, NAN, 1.0, 1.0])
    theta = torch.tensor([2.0, 2.0, 2.0, 2.0, 2.0, NAN, NAN])
    assert gk.negative_binomial_nll(x, mean, theta, event_ndim=0).isnan().all()
    assert gk.zero_inflated_negative_binomial_nll(x, mean, theta, torch.zeros(()), event_ndim=0).isnan().all()


def test_a_mean_of_0_gives_nothing_but_0(every_isa: Backend) -> None:
    nll = gk.negative_binomial_nll(torch.tensor([0.0, 1.0]), torch.zeros(2), torch.ones(2), event_ndim=0)
    assert nll.tolist() == [0.0, INF]


def test_bad_arguments_are_refused_by_name(backend: Backend) -> None:
    x, mean, theta, logits = problem()
    with pytest.raises(TypeError, match="^x: expected a floating dtype, int16, int32 or int64, got torch.bool"):
        gk.negative_binomial_nll(x > 0, mean, theta)
    with pytest.raises(TypeError, match=r"^mean: expected a floating dtype \(.*\), got torch.int64"):
        gk.negative_binomial_nll(x, mean.long(), theta)
    with pytest.raises(ValueError, match="^mean_param: expected one of 'mean', 'log', 'logits', got 'rate'"):
        gk.negative_binomial_nll(x, mean, theta, mean_param="rate")
    with pytest.raises(ValueError, match="^dispersion_param: expected one of 'value', 'log', got 'mean'"):
        gk.zero_inflated_negative_binomial_nll(x, mean, theta, logits, dispersion_param="mean")
    with pytest.raises(ValueError, match="^dropout_logits: expected a shape that broadcasts with"):
        gk.zero_inflated_negative_binomial_nll(x, mean, theta, logits[:, :3])
