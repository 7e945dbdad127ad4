"""Whether the noise is what it claims to be: moments, distribution, tails and independence.

Bounds are five standard errors (a wrong alarm in two million), for the first seeds there are: 0, 1, 2.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from support.backends import NATIVE, REFERENCE
from torch import Tensor

import genkern as gk

BEST = NATIVE if NATIVE.missing() is None else REFERENCE
MANY = 10_000_000
SIGMAS = 5


@pytest.fixture(scope="module", params=[0, 1, 2])
def normals(request: pytest.FixtureRequest) -> Tensor:
    with BEST.use():
        return gk.random.normal(gk.random.key(request.param), (MANY,)).double()


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def uniforms(request: pytest.FixtureRequest) -> Tensor:
    with BEST.use():
        return gk.random.uniform(gk.random.key(0), (MANY,), dtype=request.param).double()


def assert_moments(draws: Tensor) -> None:
    n = draws.numel()
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):  # of x^k: E x^2k - (E x^k)^2
        moment = draws.pow(power).mean().item()
        assert abs(moment - expected) < SIGMAS * math.sqrt(variance / n), f"moment {power}: {moment}"


def assert_uncorrelated(a: Tensor, b: Tensor) -> None:
    correlation = (a * b).mean().item()
    assert abs(correlation) < SIGMAS / math.sqrt(a.numel()), correlation


def test_moments_are_those_of_a_standard_normal(normals: Tensor) -> None:
    assert_moments(normals)


def test_float64_normals_have_the_moments_too() -> None:
    with BEST.use():
        assert_moments(gk.random.normal(gk.random.key(0), (MANY // 10,), dtype=torch.float64))


def test_ten_million_draws_pass_kolmogorov_smirnov(normals: Tensor) -> None:
    ordered = normals.sort().values
    grid = torch.arange(MANY, dtype=torch.float64) / MANY
    cdf = torch.special.ndtr(ordered)
    distance = max((cdf - grid).max().item(), (grid + 1 / MANY - cdf).max().item())
    assert stats.kstwobign.sf(distance * math.sqrt(MANY)) > 1e-6


def test_tails_hold_what_the_normal_law_says(normals: Tensor) -> None:
    for limit in (1, 2, 3, 4, 5):
        for tail in (normals > limit, normals < -limit):
            low, high = stats.binom.interval(1 - 1e-6, MANY, stats.norm.sf(limit))
            assert low <= int(tail.sum()) <= high, f"beyond {limit} sigma"


def test_neighbouring_elements_are_uncorrelated(normals: Tensor) -> None:
    for lag in (1, 2, 3, 4, 5, 8, 16, 32, 64, 512, 4096):
        assert_uncorrelated(normals[lag:], normals[:-lag])
    square = (normals * normals - 1) / math.sqrt(2)
    for lag in (1, 2, 3, 4, 8):
        assert_uncorrelated(square[lag:], square[:-lag])


def test_rows_are_uncorrelated(normals: Tensor) -> None:
    rows = normals.view(10, -1)
    correlation = torch.corrcoef(rows) - torch.eye(10)
    assert correlation.abs().max() < SIGMAS / math.sqrt(rows.shape[1])


def test_keys_are_uncorrelated() -> None:
    with BEST.use():
        split = gk.random.split(gk.random.key(0), 6)
        keys = [*split, gk.random.key(0), gk.random.key(1), gk.random.key(2), gk.random.key(0, 10**6)]
        rows = torch.stack([gk.random.normal(k, (500_000,)) for k in keys]).double()
    correlation = torch.corrcoef(rows) - torch.eye(len(keys))
    assert correlation.abs().max() < SIGMAS / math.sqrt(rows.shape[1])


def test_reserved_keys_are_uncorrelated_with_each_other_and_with_torch() -> None:
    with BEST.use():
        torch.manual_seed(0)
        rows = [gk.random.normal(gk.random.reserve(), (500_000,)) for _ in range(4)]
        torch.manual_seed(0)
        rows += [torch.randn(500_000) for _ in range(2)]
        rows.append(gk.random.normal(gk.random.key(0), (500_000,)))
    correlation = torch.corrcoef(torch.stack(rows).double()) - torch.eye(len(rows))
    assert correlation.abs().max() < SIGMAS / math.sqrt(500_000)


def test_cosine_and_sine_of_one_pair_are_independent(normals: Tensor) -> None:
    pairs = normals.view(-1, 2)
    octant = torch.atan2(pairs[:, 1], pairs[:, 0]).add(math.pi).mul(4 / math.pi).long().clamp(0, 7)
    counts = torch.bincount(octant, minlength=8).numpy()
    assert stats.chisquare(counts).pvalue > 1e-6


def test_uniforms_are_uniform(uniforms: Tensor) -> None:
    assert uniforms.min() >= 0
    assert uniforms.max() < 1
    counts = np.bincount((uniforms * 1024).long().numpy(), minlength=1024)
    assert stats.chisquare(counts).pvalue > 1e-6
    standard = (uniforms - 0.5) * math.sqrt(12)
    for lag in (1, 2, 3, 4, 8):
        assert_uncorrelated(standard[lag:], standard[:-lag])


def test_every_bit_of_a_uniform_is_fair() -> None:
    with BEST.use():
        bits = (gk.random.uniform(gk.random.key(0), (1_000_000,)) * 2**24).to(torch.int64)
    for bit in range(24):
        ones = int(((bits >> bit) & 1).sum())
        assert abs(ones - 500_000) < SIGMAS * 500, f"bit {bit}"
