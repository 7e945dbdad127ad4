"""Draws of counts: their laws, their keys, and the edges of their parameters."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import genkern as gk

KEY = gk.random.key(7)
DRAWS = 100_000


def assert_drawn_from(x: Tensor, law: Any) -> None:
    """A chi-squared test on some 30 intervals of equal probability: one in 10^5 fails by chance; seeds are fixed."""
    edges = np.unique(law.ppf(np.linspace(0, 1, 31)[1:-1]))
    seen = np.bincount(np.searchsorted(edges, x.flatten().numpy()), minlength=len(edges) + 1)
    expected = np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]])) * x.numel()
    enough = expected > 5
    seen, expected = seen[enough], expected[enough]
    assert len(seen) > 1
    assert stats.chisquare(seen, expected * (seen.sum() / expected.sum())).pvalue > 1e-5


@pytest.mark.parametrize("rate", [0.01, 0.7, 3.0, 9.99, 10.0, 10.5, 30.0, 200.0, 1e4, 1e8, 1e13])
def test_poisson_counts_have_their_law(rate: float) -> None:
    x = gk.poisson_sample(torch.full((DRAWS,), rate, dtype=torch.float64), key=gk.random.key(int(rate)))
    assert_drawn_from(x, stats.poisson(rate))


PARAMETERS = [(0.3, 0.05), (3.0, 1e-3), (5.0, 0.5), (5.0, 1.0), (5.0, 2.0), (100.0, 10.0), (1e4, 1e5), (1e6, 3.0)]


@pytest.mark.parametrize(("mean", "theta"), PARAMETERS)
def test_negative_binomial_counts_have_their_law(mean: float, theta: float) -> None:
    means = torch.full((DRAWS,), mean, dtype=torch.float64)
    x = gk.negative_binomial_sample(means, torch.tensor(theta).double(), key=KEY)
    assert_drawn_from(x, stats.nbinom(theta, theta / (theta + mean)))


def test_large_inverse_dispersions_lead_to_the_poisson_law() -> None:
    means = torch.full((DRAWS,), 20.0)
    for theta in (1e12, 1e30, math.inf):
        x = gk.negative_binomial_sample(means, torch.tensor(theta), key=KEY)
        assert_drawn_from(x, stats.poisson(20.0))


def test_counts_are_lost_with_their_probability_and_else_as_they_were() -> None:
    mean, theta, logits = torch.full((DRAWS,), 30.0), torch.tensor(9.0), torch.tensor(-1.0)
    x = gk.zero_inflated_negative_binomial_sample(mean, theta, logits, key=KEY)
    whole = gk.negative_binomial_sample(mean, theta, key=KEY)
    lost = (x == 0) & (whole != 0)
    assert torch.equal(torch.where(lost, whole, x), whole)
    probability = torch.sigmoid(logits).item()
    assert abs(lost.double().mean() - probability) < 5 * math.sqrt(probability * (1 - probability) / DRAWS)


FORMS = [("mean", "value"), ("log", "log"), ("logits", "value")]


@pytest.mark.parametrize(("mean_param", "dispersion_param"), FORMS)
def test_parameters_mean_the_same_in_every_form(mean_param: str, dispersion_param: str) -> None:
    mean, theta = torch.tensor([[0.5, 4.0], [90.0, 1e4]]).double(), torch.tensor([0.3, 7.0]).double()
    of_mean = {"mean": mean, "log": mean.log(), "logits": (mean / theta).log()}[mean_param]
    of_theta = theta.log() if dispersion_param == "log" else theta
    options = {"mean_param": mean_param, "dispersion_param": dispersion_param}
    x = gk.negative_binomial_sample(of_mean, of_theta, sample_shape=(500,), key=KEY, **options)
    expected = gk.negative_binomial_sample(mean, theta, sample_shape=(500,), key=KEY)
    assert (x != expected).double().mean() < 1e-3  # the rounding of a logarithm may decide
    assert torch.equal(
        gk.poisson_sample(mean.log(), rate_param="log", key=KEY) > 0, gk.poisson_sample(mean, key=KEY) > 0
    )


DRAWN = {
    "poisson": lambda rows, **how: gk.poisson_sample(torch.full((rows, 50), 12.0), **how),
    "negative binomial": lambda rows, **how: gk.negative_binomial_sample(
        torch.full((rows, 50), 12.0), torch.tensor(0.7), **how
    ),
    "zero-inflated": lambda rows, **how: gk.zero_inflated_negative_binomial_sample(
        torch.full((rows, 50), 12.0), torch.tensor(0.7), torch.tensor(-0.5), **how
    ),
}
every_draw = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)


@every_draw
def test_a_count_is_a_function_of_the_key_and_of_its_index(draw: Any) -> None:
    whole = draw(40, key=KEY)
    assert torch.equal(draw(40, key=KEY), whole)
    assert torch.equal(draw(15, key=KEY, element_offset=25 * 50), whole[25:])
    assert torch.equal(draw(20, key=KEY, sample_shape=(2,)).flatten(0, 1), whole)
    assert not torch.equal(draw(40, key=gk.random.key(8)), whole)
    with gk.use_backend("reference"):
        assert torch.equal(draw(40, key=KEY), whole)


@every_draw
def test_generators_draw_the_key_or_a_row_each(draw: Any) -> None:
    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    drawn = draw(3, generator=generators(1)[0])
    assert torch.equal(drawn, draw(3, key=gk.random.reserve(generators(1)[0])))
    rows = draw(3, generator=generators(1, 2, 3))
    assert torch.equal(rows[1:2], draw(1, generator=generators(2)))
    assert not torch.equal(rows[0], rows[1])
    torch.manual_seed(5)
    drawn = draw(3)
    torch.manual_seed(5)
    assert torch.equal(draw(3), drawn) and not torch.equal(draw(3), drawn)
    assert draw(0, generator=[]).shape == (0, 50)


def test_values_at_the_edges() -> None:
    inf, nan = math.inf, math.nan
    rate = torch.tensor([0.0, -0.0, -1.0, nan, inf, 1e-40, 3e38])
    x = gk.poisson_sample(rate, key=KEY)
    assert x[:2].tolist() == [0.0, 0.0] and x[2:4].isnan().all() and x[4] == inf and x[5] == 0
    assert abs(x[6] / 3e38 - 1) < 1e-6
    mean, theta = torch.tensor([0.0, -1.0, nan, inf, 1.0, 1.0, 1.0, 5.0]), torch.ones(8)
    theta[4:7] = torch.tensor([0.0, -1.0, nan])
    x = gk.negative_binomial_sample(mean, theta, key=KEY)
    assert x[0] == 0 and x[3] == inf and x[[1, 2, 4, 5, 6]].isnan().all() and x[7].isfinite()
    tiny = gk.negative_binomial_sample(torch.tensor([2.0]), torch.tensor([1e-309], dtype=torch.float64), key=KEY)
    assert tiny == gk.negative_binomial_sample(*torch.tensor([[2.0], [-800.0]]), dispersion_param="log", key=KEY) == 0
    logits = torch.tensor([-inf, inf, nan, 1e4, -1e4])
    x = gk.zero_inflated_negative_binomial_sample(torch.full((5,), 1e6), torch.tensor(50.0), logits, key=KEY)
    assert x[[1, 3]].tolist() == [0.0, 0.0] and x[2].isnan() and (x[[0, 4]] > 1e4).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_counts_are_whole_numbers_in_float32_or_wider(dtype: torch.dtype) -> None:
    x = gk.negative_binomial_sample(torch.full((1000,), 700.0, dtype=dtype), torch.ones((), dtype=dtype), key=KEY)
    assert x.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(x, x.round()) and x.max() > 2048
    assert not x.requires_grad


def test_draws_compile_whole_and_have_a_shape_on_the_meta_device() -> None:
    def draw(mean: Tensor, key: Tensor) -> Tensor:
        return gk.negative_binomial_sample(mean, torch.tensor(2.0), key=key) + gk.poisson_sample(mean, key=key)

    mean = torch.full((5, 3), 4.0)
    compiled = torch.compile(draw, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(mean, KEY), draw(mean, KEY))
    on_meta = gk.negative_binomial_sample(mean.to("meta"), torch.ones(3, device="meta"), sample_shape=(2,))
    assert on_meta.shape == (2, 5, 3) and on_meta.is_meta


def test_mapped_draws_are_those_of_a_loop() -> None:
    rates, keys = torch.tensor([[0.5, 20.0], [3.0, 1e3]]), gk.random.split(KEY, 2)
    drawn = torch.vmap(lambda rate: gk.poisson_sample(rate, key=KEY))(rates)
    assert torch.equal(drawn, torch.stack([gk.poisson_sample(rate, key=KEY) for rate in rates]))
    theta = torch.tensor(2.0)
    drawn = torch.vmap(lambda rate, key: gk.negative_binomial_sample(rate, theta, key=key))(rates, keys)
    pairs = zip(rates, keys, strict=True)
    assert torch.equal(drawn, torch.stack([gk.negative_binomial_sample(rate, theta, key=key) for rate, key in pairs]))
    same, other = torch.vmap(lambda rate: gk.poisson_sample(rate), randomness="different")(torch.full((2, 40), 30.0))
    assert not torch.equal(same, other)
    _, tangent = torch.func.jvp(lambda rate: rate * gk.poisson_sample(rate, key=KEY), (rates,), (torch.ones(2, 2),))
    assert torch.equal(tangent, gk.poisson_sample(rates, key=KEY))


def test_a_mean_that_learns_gets_no_gradient() -> None:
    mean = torch.ones(3, requires_grad=True)
    assert not gk.poisson_sample(mean, key=KEY).requires_grad


def test_bad_arguments_are_named() -> None:
    mean, theta = torch.ones(2, 3), torch.ones(3)
    generator = torch.Generator()
    for message, call in {
        "mean_param: expected one of 'mean', 'log', 'logits'": {"mean_param": "rate"},
        "dispersion_param: expected one of 'value', 'log'": {"dispersion_param": "std"},
        "key, generator: expected at most one of the two": {"key": KEY, "generator": generator},
        r"generator: expected one per row of the sample \(2, 3\), got 1": {"generator": [generator]},
        "element_offset: expected an int >= 0": {"element_offset": -1},
        "sample_shape: expected an int >= 0, got -1": {"sample_shape": (-1,)},
        r"element_offset: expected at most 2..62 - 1, got 4611686018427387904": {"element_offset": 2**62},
    }.items():
        with pytest.raises(ValueError, match=f"^{message}"):
            gk.negative_binomial_sample(mean, theta, **call)
    with pytest.raises(TypeError, match="^mean: expected a floating dtype .* got torch.int64"):
        gk.negative_binomial_sample(mean.long(), theta)
    with pytest.raises(TypeError, match="^dropout_logits: expected a Tensor, got None"):
        gk.zero_inflated_negative_binomial_sample(mean, theta, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="^inverse_dispersion"):
        gk.negative_binomial_sample(mean, torch.ones(4))


def test_the_page_on_counts_has_the_figures_that_come_out() -> None:
    page = Path(gk.__file__).parents[1] / "docs" / "counts.py"
    run = subprocess.run([sys.executable, str(page), "--check"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


def test_many_seeds_have_the_mean_of_the_law() -> None:
    """A bias of one seed shows in no single test."""
    means = [gk.poisson_sample(torch.full((1000,), 15.0), key=gk.random.key(seed)).mean() for seed in range(60)]
    z = (torch.stack(means) - 15.0) / math.sqrt(15.0 / 1000)
    assert abs(z.mean()) < 5 / math.sqrt(60) and abs(z.std() - 1) < 0.3
    assert all(not torch.equal(a, b) for a, b in pairwise(means))
