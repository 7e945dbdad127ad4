"""The likelihoods of data: closed forms, tables by mpmath, sums over all values, and the edges."""

import functools
import math
from typing import Any

import mpmath
import pytest
import torch
from mpmath import mpf
from support.backends import Backend
from support.inputs import normal
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, Normal
from torch.nn import functional as torch_functional

import genkern as gk

INF, NAN = math.inf, math.nan
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
LEVELS = torch.linspace(-1, 1, 256, dtype=torch.float64)


def gradients(nll: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(nll.sum(), leaves)


# Bernoulli


@DTYPES
def test_bernoulli_is_torchs(every_isa: Backend, dtype: torch.dtype) -> None:
    logits, x = 3 * normal((64, 33), 0, dtype), (normal((64, 33), 1) > 0).to(dtype)
    nll = gk.bernoulli_nll(x, logits)
    torch.testing.assert_close(nll, -Bernoulli(logits=logits).log_prob(x).sum(1))
    soft = normal((64, 33), 1, dtype).sigmoid()
    expected = torch_functional.binary_cross_entropy_with_logits(logits, soft, reduction="none").sum(1)
    torch.testing.assert_close(gk.bernoulli_nll(soft, logits), expected)


def exact_bernoulli(x: float, logit: float) -> mpf:
    """softplus(l) - x l, to more digits than the terms can cancel."""
    with mpmath.workdps(400):
        return mpmath.log1p(mpmath.exp(mpf(logit))) - mpf(x) * mpf(logit)


@DTYPES
def test_bernoulli_is_accurate_to_a_few_ulp_for_every_logit(every_isa: Backend, dtype: torch.dtype) -> None:
    sizes = torch.logspace(-6, 2.5, 60, dtype=torch.float64)
    levels = torch.tensor([0.0, 1 / 255, 0.3, 0.5, 0.75, 254 / 255, 1.0], dtype=torch.float64)
    x, logits = (t.flatten().to(dtype) for t in torch.meshgrid(levels, torch.cat((sizes, -sizes)), indexing="ij"))
    nll = gk.bernoulli_nll(x, logits, event_ndim=0)
    truth = torch.tensor(
        [float(exact_bernoulli(a, b)) for a, b in zip(x.tolist(), logits.tolist(), strict=True)], dtype=torch.float64
    )
    # exp(-|l|) is as accurate as |l| is large times an ulp where it is all there is: log(1 + exp(-|l|)) for x = 0 or 1.
    tiny = torch.finfo(dtype).smallest_normal
    assert ((nll.double() - truth).abs() <= 4 * torch.finfo(dtype).eps * truth + tiny).all()


def test_bernoulli_is_exact_up_to_the_largest_logit(every_isa: Backend) -> None:
    largest = torch.finfo(torch.float32).max
    x = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.5, 1.0, 0.0])
    logits = torch.tensor([largest, -largest, largest, -largest, largest, 1e4, 1e4]).requires_grad_()
    nll = gk.bernoulli_nll(x, logits, event_ndim=0)
    assert torch.equal(nll, torch.tensor([0.0, 0.0, largest, largest, largest / 2, 0.0, 1e4]))
    assert torch.equal(gradients(nll, logits)[0], torch.tensor([0.0, 0.0, 1.0, -1.0, 0.5, 0.0, 1.0]))


def test_an_infinite_logit_is_right_or_infinitely_wrong(every_isa: Backend) -> None:
    x = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.5]).requires_grad_()
    logits = torch.tensor([INF, -INF, INF, -INF, INF]).requires_grad_()
    nll = gk.bernoulli_nll(x, logits, event_ndim=0)
    assert torch.equal(nll, torch.tensor([0.0, 0.0, INF, INF, INF]))
    d_x, d_logits = gradients(nll, x, logits)
    assert torch.equal(d_logits, torch.tensor([0.0, 0.0, 1.0, -1.0, 0.5]))
    assert torch.equal(d_x, torch.tensor([0.0, 0.0, -INF, INF, -INF]))


def test_bernoulli_hands_nan_on(every_isa: Backend) -> None:
    nll = gk.bernoulli_nll(torch.tensor([NAN, 1.0, 0.0, 0.5]), torch.tensor([1.0, NAN, NAN, 0.0]), event_ndim=0)
    assert nll.isnan().tolist() == [True, True, True, False]


def test_bernoulli_gradients_at_zero_are_those_of_either_side(every_isa: Backend) -> None:
    x, logits = torch.tensor([0.0, 0.25, 1.0]).requires_grad_(), torch.tensor([0.0, -0.0, 0.0]).requires_grad_()
    d_x, d_logits = gradients(gk.bernoulli_nll(x, logits), x, logits)
    assert torch.equal(d_logits, torch.tensor([0.5, 0.25, -0.5]))
    assert torch.equal(d_x, torch.zeros(3))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_moves_the_target_towards_a_half(every_isa: Backend, smoothing: float) -> None:
    x, logits = normal((8, 5), 1).sigmoid(), 3 * normal((8, 5), 2)
    smoothed = gk.bernoulli_nll(x, logits, label_smoothing=smoothing)
    by_hand = gk.bernoulli_nll(x * (1 - smoothing) + smoothing / 2, logits)
    torch.testing.assert_close(smoothed, by_hand, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loses_no_more_than_its_own_rounding(every_isa: Backend, dtype: torch.dtype) -> None:
    x, logits = normal((16, 40), 1).sigmoid().to(dtype), (20 * normal((16, 40), 2)).to(dtype)
    loc, scale = normal((16, 40), 3).to(dtype), normal((16, 40), 4).to(dtype)
    calls = [
        (gk.bernoulli_nll, (x, logits)),
        *((n, (x, loc, scale)) for n in (gk.laplace_nll, gk.discretized_gaussian_nll)),
    ]
    for nll, arguments in calls:
        # Element by element: groups of numbers, and with them the order of a sum, go by the storage type.
        each, wide = (nll(*given, reduction="none") for given in (arguments, [t.float() for t in arguments]))
        assert torch.equal(each, wide)


def test_bad_bernoulli_arguments_are_refused_by_name(backend: Backend) -> None:
    x = torch.zeros(2, 3)
    for smoothing in (-0.1, 1.1, NAN):
        with pytest.raises(ValueError, match="^label_smoothing: expected a number from 0 to 1, got"):
            gk.bernoulli_nll(x, x, label_smoothing=smoothing)
    with pytest.raises(TypeError, match="^label_smoothing: expected a number, got str"):
        gk.bernoulli_nll(x, x, label_smoothing="little")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^logits: expected a shape that broadcasts with x \(2, 3\), got \(2,\)"):
        gk.bernoulli_nll(x, torch.zeros(2))
    with pytest.raises(TypeError, match="^logits: expected a floating dtype"):
        gk.bernoulli_nll(x, torch.zeros(2, 3, dtype=torch.int64))


# Laplace


@DTYPES
@pytest.mark.parametrize("scale_param", ["logvar", "logstd", "std", "var", "softplus"])
def test_laplace_is_torchs(every_isa: Backend, dtype: torch.dtype, scale_param: str) -> None:
    x, loc, raw = normal((8, 33), 0, dtype), normal((8, 33), 1, dtype), normal((8, 33), 2, dtype).abs() + 0.1
    diversity = {"logvar": (raw / 2).exp(), "logstd": raw.exp(), "std": raw, "var": raw.sqrt()}
    b = diversity.get(scale_param, torch_functional.softplus(raw))
    expected = -Laplace(loc, b).log_prob(x).sum(1)
    torch.testing.assert_close(gk.laplace_nll(x, loc, raw, scale_param=scale_param), expected)
    short = gk.laplace_nll(x, loc, raw, scale_param=scale_param, full=False)
    torch.testing.assert_close(short, expected - 33 * math.log(2))


def test_the_laplace_gradient_is_zero_where_x_is_the_mean_and_nan_for_nan(every_isa: Backend) -> None:
    x = torch.tensor([1.0, 1.0, 1.0, NAN]).requires_grad_()
    loc = torch.tensor([1.0, 0.0, 2.0, 0.0]).requires_grad_()
    scale = torch.zeros(4).requires_grad_()
    d_x, d_loc, d_scale = gradients(gk.laplace_nll(x, loc, scale), x, loc, scale)
    assert torch.equal(d_x[:3], torch.tensor([0.0, 1.0, -1.0]))
    assert torch.equal(d_loc[:3], -d_x[:3])
    assert torch.equal(d_scale[:3], torch.tensor([0.5, 0.0, 0.0]))
    assert d_x[3].isnan() and d_loc[3].isnan() and d_scale[3].isnan()


def test_the_best_diversity_is_the_mean_absolute_error(backend: Backend) -> None:
    """By the equation for the maximum of the likelihood: the gradient by log b vanishes there."""
    error = normal((1000,), 0)
    log_b = error.abs().mean().log().requires_grad_()
    (slope,) = gradients(gk.laplace_nll(error, torch.zeros(()), log_b, scale_param="logstd", reduction="mean"), log_b)
    assert slope.abs() < 1e-14  # a mean of 1000 float64 numbers of order 1


# Poisson


@DTYPES
@pytest.mark.parametrize("rate_param", ["rate", "log"])
def test_poisson_is_accurate_near_the_mean_and_far_from_it(
    every_isa: Backend, dtype: torch.dtype, rate_param: str
) -> None:
    logarithmic, kernel = rate_param == "log", every_isa.mode == "native"
    away = torch.tensor([0.0, 1e-4, -1e-4, 3e-3, -0.02, 0.1, -0.19, 0.3, -0.6, 3.0, 40.0], dtype=torch.float64)
    x = torch.tensor([0, 1, 2, 3, 5, 8, 9, 10, 30, 100, 1e3, 1e5, 1e6], dtype=dtype).repeat_interleave(len(away))
    rate = (x.double().clamp(min=0.5) * (1 + away).repeat(len(x) // len(away))).to(dtype)
    rate = (rate.log() if logarithmic else rate).requires_grad_()
    x.requires_grad_()
    nll = gk.poisson_nll(x, rate, rate_param=rate_param, event_ndim=0)
    d_x, d_rate = gradients(nll, x, rate)
    with mpmath.workdps(40):
        for k, (count, given) in enumerate(zip(x.tolist(), rate.tolist(), strict=True)):
            mean, log_mean = (mpmath.exp(given), mpf(given)) if logarithmic else (mpf(given), mpmath.log(given))
            truth = mean - count * log_mean + mpmath.loggamma(count + 1)
            slope = mean - count if logarithmic else (mean - count) / mean
            # A few ulp of the number itself in a kernel: near the mean of the loss, of d_rate everywhere. Else of what
            # it is the difference of, log Gamma of a small count from beyond a shift. An exponential's argument adds.
            near = kernel and count >= 9 and abs(mean - count) < 0.1 * (mean + count)
            size = truth if near else mean + count * abs(log_mean) + 4
            rounded = mean * (1 + abs(given)) if logarithmic else 0
            eps = 4 * torch.finfo(dtype).eps
            assert abs(nll[k].item() - truth) <= eps * (size + rounded * abs(mean - count) / mean), (count, given)
            assert abs(d_rate[k].item() - slope) <= eps * (abs(slope if kernel else 1) + rounded), (count, given)
            assert abs(d_x[k].item() - (mpmath.digamma(count + 1) - log_mean)) <= eps * (2 + abs(log_mean))


# The discretized Gaussian


def log_odds(z: mpf) -> mpf:
    """Of the cdf 1/2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3)))."""
    return 2 * mpmath.sqrt(2 / mpmath.pi) * (z + mpf("0.044715") * z**3)


def beyond(z: mpf, cdf: str) -> mpf:
    return mpmath.erfc(z / mpmath.sqrt(2)) / 2 if cdf == "exact" else 1 / (1 + mpmath.exp(log_odds(z)))


def exact_nll(x: float, loc: float | mpf, log_sigma: float | mpf, cdf: str, bins: int = 256) -> mpf:
    """By the definition, on the side where no mass is near 1 unless it is that of the bin."""
    half, sigma = mpf(1) / (bins - 1), mpmath.exp(mpf(log_sigma))
    a, b = ((mpf(x) - mpf(loc) + side * half) / sigma for side in (-1, 1))
    if x < -0.999:
        a, b = -b, mpmath.inf
    elif x > 0.999:
        b = mpmath.inf
    elif a + b < 0:
        a, b = -b, -a
    above = mpf(0) if b == mpmath.inf else beyond(b, cdf)
    if a > 0:
        return -mpmath.log(beyond(a, cdf) - above)
    return -mpmath.log1p(-(beyond(-a, cdf) + above))


def table(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """x, loc and log sigma: sigma from e^-12 to e^9, means near and far, black, white and between."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for log_sigma in range(-12, 9):
        for k in range(12):
            x = LEVELS[(0, 255, 37 * k % 256, 91 * k % 256)[k % 4]].item()
            away = torch.randn((), generator=generator, dtype=torch.float64).item()
            spread = (3 * math.exp(log_sigma), 0.01, 1.0)[k % 3]
            rows.append((x, x + spread * away, log_sigma + 0.9 * k / 12))
        rows += [(0.1, far, log_sigma) for far in (1e2, -1e4)]
        level, finer = LEVELS[100].item(), [log_sigma + k / 8 for k in range(8)]
        rows += [(level, level + 0.3 * math.exp(s), s) for s in finer]  # masses near 1, where sigma is that of a bin
    return tuple(torch.tensor(column, dtype=torch.float64).to(dtype) for column in zip(*rows, strict=True))


@functools.cache
def truth_of(dtype: torch.dtype, cdf: str) -> tuple[Tensor, ...]:
    """Of the table: -log mass, and its derivatives by loc and log sigma."""
    rows = []
    with mpmath.workdps(60):
        for x, loc, log_sigma in zip(*(v.tolist() for v in table(dtype)), strict=True):

            def nll(m: mpf, s: mpf, x: float = x) -> mpf:
                return exact_nll(x, m, s, cdf)

            step = mpf("1e-20")
            by_loc = mpmath.diff(nll, (mpf(loc), mpf(log_sigma)), (1, 0), h=step * mpmath.exp(log_sigma))
            by_scale = mpmath.diff(nll, (mpf(loc), mpf(log_sigma)), (0, 1), h=step)
            rows.append([float(v) for v in (nll(mpf(loc), mpf(log_sigma)), by_loc, by_scale)])
    return torch.tensor(rows, dtype=torch.float64).unbind(1)


@DTYPES
@pytest.mark.parametrize("cdf", ["exact", "tanh"])
def test_every_mass_is_accurate_in_log_space(every_isa: Backend, dtype: torch.dtype, cdf: str) -> None:
    x, loc, scale = (v.requires_grad_() for v in table(dtype))
    nll = gk.discretized_gaussian_nll(x, loc, scale, scale_param="logstd", cdf=cdf, event_ndim=0)
    d_x, d_loc, d_scale = gradients(nll, x, loc, scale)
    truth, by_loc, by_scale = truth_of(dtype, cdf)
    eps, sigma = torch.finfo(dtype).eps, scale.detach().double().exp()
    # A few ulp of what the rounding of x - loc (of a half bin at most beside the edge of one) and of sigma does.
    size = torch.maximum(loc.detach().double().abs(), x.detach().double().abs())
    allowed = 12 * eps * (truth + by_scale.abs() + by_loc.abs() * (size + 1 / 255)) + torch.finfo(dtype).smallest_normal
    assert ((nll.detach().double() - truth).abs() <= allowed).all()
    # The gradients have those of 1 / sigma and 1 for their size, and what rounding of the place makes of the second.
    place = 1 + (size + 1 / 255) / sigma
    assert torch.equal(d_x, -d_loc)
    assert ((d_loc.double() - by_loc).abs() * sigma <= 12 * eps * (by_loc.abs() * sigma + place)).all()
    standard = 1 + (loc.detach().double() - x.detach().double()).abs() / sigma
    assert ((d_scale.double() - by_scale).abs() <= 12 * eps * (by_scale.abs() + place * standard)).all()


@DTYPES
@pytest.mark.parametrize("cdf", ["exact", "tanh"])
@pytest.mark.parametrize("log_sigma", [-12.0, -7.0, -5.5, -4.9, -4.0, -2.0, 0.0, 3.0, 8.0])
def test_the_masses_of_all_bins_add_up_to_one(
    every_isa: Backend, dtype: torch.dtype, cdf: str, log_sigma: float
) -> None:
    for loc in (-1.3, -0.999, 0.0, 0.123, 1.0):
        options = {"scale_param": "logstd", "cdf": cdf, "event_ndim": 0}
        scale = torch.tensor(log_sigma, dtype=dtype)
        for bins in (2, 16, 256, 5000):
            x = torch.linspace(-1, 1, bins, dtype=torch.float64).to(dtype)
            nll = gk.discretized_gaussian_nll(x, torch.tensor(loc, dtype=dtype), scale, bins=bins, **options)
            # A place rounded by half an ulp of 1 moves an edge, and with it mass, by that over sigma.
            allowed = 8 * torch.finfo(dtype).eps * (1 + math.exp(-log_sigma))
            assert abs(nll.double().neg().exp().sum().item() - 1) <= allowed


def test_pixels_of_zero_to_one_are_the_same_masses(every_isa: Backend) -> None:
    x, loc = LEVELS[None], torch.tensor(0.1, dtype=torch.float64)
    symmetric = gk.discretized_gaussian_nll(x, loc, 0.05, scale_param="std")
    pixels = gk.discretized_gaussian_nll((x + 1) / 2, (loc + 1) / 2, 0.025, low=0.0, high=1.0, scale_param="std")
    torch.testing.assert_close(symmetric, pixels, rtol=1e-12, atol=0)


def test_the_tails_begin_where_guided_diffusion_has_them(every_isa: Backend) -> None:
    """At 0.999 of [-1, 1], or at half a bin where bins are narrower than that."""
    x = torch.tensor([-0.9991, -0.9989, 0.9989, 0.9991], dtype=torch.float64)
    nll = gk.discretized_gaussian_nll(x, torch.zeros((), dtype=torch.float64), 0.0, event_ndim=0)
    normal01 = Normal(0.0, 1.0)
    tail = -normal01.cdf(x[:1] + 1 / 255).log()
    inside = -(normal01.cdf(x[1:2] + 1 / 255) - normal01.cdf(x[1:2] - 1 / 255)).log()
    # float64, from a difference of cdfs of 0.16 that is 0.002
    torch.testing.assert_close(nll[[0, 3]], tail.expand(2), rtol=1e-13, atol=0)
    torch.testing.assert_close(nll[[1, 2]], inside.expand(2), rtol=1e-12, atol=0)
    fine = gk.discretized_gaussian_nll(x, torch.zeros((), dtype=torch.float64), 0.0, bins=65536, event_ndim=0)
    assert (fine > 10).all()


def test_the_usual_formula_is_met_where_it_has_digits(every_isa: Backend) -> None:
    """guided-diffusion's, with its approximate cdf and its floor under the mass, far above the floor."""

    def cdf(z: Tensor) -> Tensor:
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    loc, log_scale = 0.1 * normal((1, 256), 3), 0.2 * normal((1, 256), 4) - 1
    x = LEVELS[None]
    plus, minus = (cdf((x - loc + side / 255) * (-log_scale).exp()) for side in (1, -1))
    log_prob = torch.where(
        x < -0.999, plus.log(), torch.where(x > 0.999, (1 - minus).log(), (plus - minus).clamp(min=1e-12).log())
    )
    nll = gk.discretized_gaussian_nll(x, loc, log_scale, scale_param="logstd", cdf="tanh", reduction="none")
    torch.testing.assert_close(nll, -log_prob, rtol=1e-11, atol=0)  # float64; the difference of cdfs loses 3 digits


def test_a_narrow_bin_is_the_density_times_its_width(every_isa: Backend) -> None:
    x, loc = normal((4, 50), 0).clamp(-0.9, 0.9), normal((4, 50), 1)
    nll = gk.discretized_gaussian_nll(x, loc, 0.0, bins=2**24 + 1)
    density = gk.gaussian_nll(x, loc) + 50 * 23 * math.log(2)
    torch.testing.assert_close(nll, density, rtol=1e-13, atol=0)


@pytest.mark.parametrize("cdf", ["exact", "tanh"])
def test_nan_and_infinity_are_handed_on(every_isa: Backend, cdf: str) -> None:
    x = torch.tensor([NAN, 0.0, 0.0, 0.0, 1.0, -1.0])
    loc = torch.tensor([0.0, NAN, 0.0, INF, INF, INF])
    scale = torch.tensor([0.0, 0.0, NAN, 0.0, 0.0, 0.0])
    nll = gk.discretized_gaussian_nll(x, loc, scale, cdf=cdf, event_ndim=0)
    assert nll[:3].isnan().all()
    assert nll[3:].tolist()[1:] == [0.0, INF]


def test_second_derivatives_are_finite_far_out_on_either_side(every_isa: Backend) -> None:
    """Each branch of the definition must stay finite where another is taken."""
    x = torch.tensor([-1.0, 1.0, 0.0, 1.0, -1.0, 0.3], dtype=torch.float64)
    loc = torch.tensor([50.0, 50.0, 50.0, -50.0, -50.0, 0.3], dtype=torch.float64).requires_grad_()
    for cdf in ("exact", "tanh"):
        for log_sigma in (-6.0, 0.0, 6.0):
            scale = torch.full((6,), log_sigma, dtype=torch.float64).requires_grad_()
            nll = gk.discretized_gaussian_nll(x, loc, scale, scale_param="logstd", cdf=cdf, event_ndim=0)
            first = torch.autograd.grad(nll.sum(), (loc, scale), create_graph=True)
            second = torch.autograd.grad(first[0].sum() + first[1].sum(), (loc, scale))
            assert all(t.isfinite().all() for t in (nll, *first, *second)), (cdf, log_sigma)


def test_bad_bins_are_refused_by_name(backend: Backend) -> None:
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="^bins: expected an int >= 2, got 1"):
        gk.discretized_gaussian_nll(x, x, x, bins=1)
    with pytest.raises(ValueError, match="^high: expected a number above low 1.5, got -0.5"):
        gk.discretized_gaussian_nll(x, x, x, low=1.5, high=-0.5)
    with pytest.raises(ValueError, match="^cdf: expected one of 'exact', 'tanh', got 'fast'"):
        gk.discretized_gaussian_nll(x, x, x, cdf="fast")
    with pytest.raises(TypeError, match="^bins: expected an int, got float"):
        gk.discretized_gaussian_nll(x, x, x, bins=25.6)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^scale: expected a number, got str"):
        gk.discretized_gaussian_nll(x, x, "optimal")  # type: ignore[arg-type]


@pytest.mark.parametrize("scale_param", ["std", "var"])
@pytest.mark.parametrize("options", [{}, {"clamp": (-0.25, 0.25), "clamp_mode": "tanh"}], ids=["free", "tanh"])
def test_a_scale_of_minus_0_is_one_of_0(scale_param: str, options: dict[str, Any], every_isa: Backend) -> None:
    x, loc = torch.tensor([1.0, 0.5, -1.0]), torch.tensor([1.25, 0.5, -1.5])  # in the bin that x is in
    for zero in (0.0, -0.0):
        leaves = [t.clone().requires_grad_() for t in (x, loc, torch.full_like(x, zero))]
        nll = gk.discretized_gaussian_nll(*leaves, scale_param=scale_param, reduction="none", **options)
        for result in (nll, *torch.autograd.grad(nll.sum(), leaves)):
            assert not result.any()
