"""The elementary functions inside the kernels, measured through public operations that expose them.

sigma = exp(scale) is a sample with loc 0 and eps 1; log and log1p come out of the entropy; exp(d) − 1 − d is twice the
divergence of two Gaussians with one mean. Truth is float64, or mpmath where float64 cancels.
"""

import math

import mpmath
import pytest
import torch
from support.backends import REFERENCE, Backend
from torch import Tensor

import genkern as gk

ULP = 2.0**-23


def sweep(low: float, high: float, count: int = 200_003) -> Tensor:
    """float32 numbers evenly spaced, and their neighbours around whole numbers."""
    return torch.linspace(low, high, count, dtype=torch.float64).to(torch.float32)


def magnitudes(low: float, high: float, count: int = 100_003) -> Tensor:
    return torch.logspace(low, high, count, dtype=torch.float64).to(torch.float32)


def assert_within_ulps(what: str, value: Tensor, truth: Tensor, ulps: float) -> None:
    """Errors in units of the last place of a float32 of the truth's size, denormals included."""
    unit = torch.exp2(truth.abs().log2().floor().clamp(min=-126)) * ULP
    error = ((value.double() - truth).abs() / unit).nan_to_num()
    assert error.max() <= ulps, f"{what}: {error.max().item():.2f} ulp at {int(error.argmax())}"


def sigma(scale: Tensor, scale_param: str) -> Tensor:
    return gk.gaussian_rsample(torch.zeros_like(scale), scale, eps=torch.ones_like(scale), scale_param=scale_param)


def test_exp_is_accurate_over_its_whole_range(every_isa: Backend) -> None:
    x = sweep(-103.0, 88.7)
    assert_within_ulps("exp", sigma(x, "logstd"), x.double().exp(), 2.0)
    tiny = magnitudes(-40, -1)
    for signed in (tiny, -tiny):
        assert_within_ulps("exp near 0", sigma(signed, "logstd"), signed.double().exp(), 1.0)


def test_exp_overflows_to_infinity_and_underflows_to_zero(every_isa: Backend) -> None:
    x = torch.tensor(
        [88.722, 88.73, 89.0, 100.0, 1e30, torch.inf, -103.0, -104.5, -200.0, -1e30, -torch.inf, torch.nan]
    )
    result = sigma(x, "logstd")
    expected = x.double().exp().float()
    assert torch.equal(result.isinf(), expected.isinf())
    assert torch.equal(result.isnan(), expected.isnan())
    assert torch.equal(result == 0, expected == 0)


def test_log_is_accurate_over_its_whole_range(every_isa: Backend) -> None:
    constant = 0.5 * (1 + torch.log(torch.tensor(2 * torch.pi, dtype=torch.float64)))
    for var in (magnitudes(-44, 38), sweep(0.5, 2.0)):
        entropy = gk.gaussian_entropy(var, scale_param="var", event_ndim=0)
        truth = 0.5 * var.double().log() + constant
        # The constant's rounding and the sum's: one ulp of the largest of the three.
        unit = torch.maximum(truth.abs(), constant) * ULP
        assert ((entropy.double() - truth).abs() <= 1.5 * unit).all()


def test_log_of_zero_negative_infinite_and_nan_is_what_ieee_says(every_isa: Backend) -> None:
    var = torch.tensor([0.0, -0.0, -1.0, torch.inf, torch.nan, 1e-45])
    entropy = gk.gaussian_entropy(var, scale_param="var", event_ndim=0)
    assert entropy[:2].isneginf().all()
    assert entropy[2].isnan()
    assert entropy[3].isposinf()
    assert entropy[4].isnan()
    assert entropy[5].isfinite()


def test_softplus_is_accurate_on_both_sides(every_isa: Backend) -> None:
    x = torch.cat((sweep(-87.0, 60.0), magnitudes(-30, 0), -magnitudes(-30, 0)))
    truth = x.double().exp().log1p()
    assert_within_ulps("softplus", sigma(x, "softplus"), truth, 4.0)


def test_tails_end_where_the_normal_range_does(every_isa: Backend) -> None:
    """log(1 + exp(-x)) as a likelihood takes it: to the last digits down to 1.2e-38, 0 beyond."""
    x = sweep(0.0, 104.0)
    nll = gk.bernoulli_nll(torch.ones_like(x), x, event_ndim=0)
    truth = (-x.double()).exp().log1p()
    assert_within_ulps("tail", nll[x <= 87.0], truth[x <= 87.0], 4.0)
    if every_isa != REFERENCE:
        assert (nll[x > 87.0] == 0).all()


def doubles(low: float, high: float, count: int = 1500) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def exponentials(low: float, high: float) -> Tensor:
    """Rounded as mpmath does, so that the arguments are the same on every processor, which torch's are not."""
    with mpmath.workdps(40):
        return torch.tensor([float(mpmath.exp(x)) for x in doubles(low, high).tolist()], dtype=torch.float64)


# For each function its operation, the truth by mpmath, ranges of arguments, and the error that is allowed, in ulp.
OF_DOUBLES = {
    "exp": (lambda x: sigma(x, "logstd"), mpmath.exp, [doubles(-708, 709.7), doubles(-1, 1), doubles(-744, -708)], 1.0),
    "exp of a half": (
        lambda x: sigma(x, "logvar"),
        lambda x: mpmath.exp(x / 2),
        [doubles(-1416, 1419), doubles(-2, 2), doubles(-1488, -1417)],
        1.2,
    ),
    "log of var": (
        lambda x: gk.gaussian_kl(torch.zeros_like(x), x, torch.zeros_like(x), torch.ones_like(x), scale_param="var"),
        lambda x: (x - 1 - mpmath.log(x)) / 2,
        [exponentials(-700, -5), exponentials(5, 30)],
        1.5,
    ),
    "exp less two terms, beside the root": (
        lambda x: gk.gaussian_kl(torch.zeros_like(x), x),
        lambda x: (mpmath.expm1(x) - x) / 2,
        [doubles(-700, 709.7), doubles(-4, 4), doubles(-0.1, 0.1)],
        2.5,
    ),
    "exp less two terms": (
        lambda x: gk.gaussian_kl(torch.zeros_like(x), x, torch.zeros_like(x), torch.zeros_like(x)),
        lambda x: (mpmath.expm1(x) - x) / 2,
        [doubles(-700, 709.7), doubles(-4, 4), doubles(-0.1, 0.1)],
        2.0,
    ),
    "softplus": (
        lambda x: sigma(x, "softplus"),
        lambda x: mpmath.log1p(mpmath.exp(x)),
        [doubles(-700, -30), doubles(-30, 40), doubles(-1, 1)],
        2.0,
    ),
    "tail of log1p": (
        lambda x: gk.bernoulli_nll(torch.ones_like(x), x),
        lambda x: mpmath.log1p(mpmath.exp(-x)),
        [doubles(0, 700), doubles(0, 2)],
        2.0,
    ),
    "sqrt": (lambda x: sigma(x, "var"), mpmath.sqrt, [torch.exp(doubles(-700, 700))], 0.6),
}


@pytest.mark.parametrize("name", OF_DOUBLES)
def test_functions_of_doubles_are_right_to_the_last_bit_or_two(every_isa: Backend, name: str) -> None:
    function, exact, ranges, ulps = OF_DOUBLES[name]
    for x in ranges:
        result = function(x.unsqueeze(1)).flatten().tolist()
        for argument, value in zip(x.tolist(), result, strict=True):
            with mpmath.workdps(50):
                truth = exact(mpmath.mpf(argument))
                error = float(abs(value - truth)) / math.ulp(float(truth))
            assert error <= ulps, f"{name} of {argument}: {value}, {error:.2f} ulp from the truth"


def test_functions_of_doubles_end_where_ieee_says(every_isa: Backend) -> None:
    inf, nan = torch.inf, torch.nan
    x = torch.tensor([inf, -inf, nan, 709.79, 1e300, -746.0, -1e300, 0.0, -0.0], dtype=torch.float64)
    expected = torch.tensor([inf, 0, nan, inf, inf, 0, 0, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(sigma(x, "logstd"), expected, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(sigma(2 * x, "logvar"), expected, rtol=0, atol=0, equal_nan=True)
    var = torch.tensor([0.0, -0.0, -1.0, inf, nan, 5e-324, 1.0], dtype=torch.float64)
    entropy = gk.gaussian_entropy(var, scale_param="var", event_ndim=0)
    assert entropy[:2].isneginf().all() and entropy[2].isnan() and entropy[3].isposinf() and entropy[4].isnan()
    constant = 0.5 * (1 + math.log(2 * math.pi))
    assert entropy[5:].tolist() == pytest.approx([0.5 * math.log(5e-324) + constant, constant], rel=1e-15)


def test_sqrt_is_within_an_ulp(every_isa: Backend) -> None:
    x = magnitudes(-37, 38)
    assert_within_ulps("sqrt", sigma(x, "var"), x.double().sqrt(), 1.0)


def collapsed(x: float) -> float:
    """½ (exp(x) − 1 − x) to 60 digits."""
    with mpmath.workdps(60):
        return float((mpmath.expm1(mpmath.mpf(x)) - mpmath.mpf(x)) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_the_divergence_of_a_collapsed_latent_is_accurate_to_a_few_ulp(every_isa: Backend, dtype: torch.dtype) -> None:
    sizes = torch.cat(
        (torch.logspace(-9, 1.9, 400, dtype=torch.float64), torch.linspace(0.3, 3, 200, dtype=torch.float64))
    )
    for signed in (sizes, -sizes):
        logvar = signed.to(dtype)
        kl = gk.gaussian_kl(torch.zeros_like(logvar), logvar, event_ndim=0)
        truth = torch.tensor([collapsed(v) for v in logvar.double().tolist()], dtype=torch.float64)
        relative = (kl.double() - truth).abs() / truth
        assert relative.max() <= 6 * torch.finfo(dtype).eps, f"at {logvar[relative.argmax()].item()}"
    # the mean adds ½ loc², exact but for one rounding
    loc = sizes.to(dtype)
    truth = 0.5 * loc.double() ** 2
    kl = gk.gaussian_kl(loc, torch.zeros_like(loc), event_ndim=0)
    assert ((kl.double() - truth).abs() <= 2 * torch.finfo(dtype).eps * truth).all()


@pytest.mark.parametrize("scale_param", ["logvar", "logstd", "std", "var", "softplus"])
def test_the_divergence_of_nearly_equal_gaussians_keeps_its_digits(every_isa: Backend, scale_param: str) -> None:
    """As accurate as the ratio of two rounded scales allows: their relative difference is the condition."""
    prior = torch.full((301,), 1.3)
    gap = torch.logspace(-5, -1, 301)
    scale = prior * (1 + gap)
    kl = gk.gaussian_kl(torch.zeros(301), scale, torch.zeros(301), prior, scale_param=scale_param, event_ndim=0)

    def sigma_of(raw: Tensor) -> Tensor:
        raw = raw.double()
        sigmas = {"logvar": (raw / 2).exp(), "logstd": raw.exp(), "std": raw, "var": raw.sqrt()}
        return sigmas.get(scale_param, raw.exp().log1p())

    log_ratio = 2 * (sigma_of(scale) / sigma_of(prior)).log()
    truth = torch.tensor([collapsed(v) for v in log_ratio.tolist()], dtype=torch.float64)
    # logarithmic parameters are subtracted exactly; the others round each sigma: a few ulp over the relative gap.
    exact = scale_param in ("logvar", "logstd", "std")
    allowed = 8 * ULP * (1 if exact else 1 + 2 / log_ratio)
    assert ((kl.double() - truth).abs() <= allowed * truth).all()


def test_the_gradient_of_a_collapsed_latent_is_accurate_to_a_few_ulp(every_isa: Backend) -> None:
    sizes = torch.logspace(-12, 1.5, 500, dtype=torch.float64)
    for signed in (sizes, -sizes):
        logvar = signed.float().requires_grad_()
        (gradient,) = torch.autograd.grad(gk.gaussian_kl(torch.zeros(500), logvar, reduction="sum"), logvar)
        assert_within_ulps("expm1", gradient, 0.5 * logvar.detach().double().expm1(), 4.0)


def test_long_sums_do_not_lose_digits(every_isa: Backend) -> None:
    loc = torch.rand(2, 1_000_003) * 1e-3 + 1.0
    total = gk.gaussian_kl(loc, torch.zeros(()))
    truth = 0.5 * loc.double().square().sum(1)
    # Elements are rounded to float32 (½ ulp, either way), their sum is not.
    assert ((total.double() - truth).abs() <= 2 * ULP * truth).all()
