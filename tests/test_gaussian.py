"""What the Gaussian family means: closed forms, torch.distributions, and the options of its functions."""

import itertools
import math
from functools import partial

import pytest
import torch
from support.backends import Backend, oracle
from support.cases import KEY
from support.inputs import normal, raw_scale
from support.tolerance import assert_same_class
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

import genkern as gk

PARAMS = ("logvar", "logstd", "std", "var", "softplus")
SHAPE = (5, 7)


def std_of(raw: Tensor, scale_param: str, offset: float = 0.0) -> Tensor:
    softplus = torch.nn.functional.softplus
    transforms = {"logvar": lambda r: (r / 2).exp(), "logstd": torch.exp, "std": lambda r: r, "var": torch.sqrt}
    return transforms.get(scale_param, softplus)(raw) + offset


@pytest.mark.parametrize("offset", [0.0, 0.25])
@pytest.mark.parametrize("scale_param", PARAMS)
def test_it_agrees_with_torch_distributions(every_isa: Backend, scale_param: str, offset: float) -> None:
    loc, prior_loc, x = (normal(SHAPE, i) for i in range(3))
    scale, prior_scale = (raw_scale(SHAPE, i, scale_param) for i in (3, 4))
    options = {"scale_param": scale_param, "scale_offset": offset}
    q = Independent(Normal(loc, std_of(scale, scale_param, offset)), 1)
    p = Independent(Normal(prior_loc, std_of(prior_scale, scale_param, offset)), 1)
    unit = Independent(Normal(torch.zeros_like(loc), torch.ones_like(loc)), 1)
    close = {"rtol": 1e-12, "atol": 1e-12}  # float64, sums of 7 terms of order 1
    torch.testing.assert_close(
        gk.gaussian_kl(loc, scale, prior_loc, prior_scale, **options), kl_divergence(q, p), **close
    )
    torch.testing.assert_close(gk.gaussian_kl(loc, scale, **options), kl_divergence(q, unit), **close)
    torch.testing.assert_close(gk.gaussian_log_prob(x, loc, scale, **options), q.log_prob(x), **close)
    torch.testing.assert_close(gk.gaussian_nll(x, loc, scale, **options), -q.log_prob(x), **close)
    torch.testing.assert_close(gk.gaussian_entropy(scale, **options), q.entropy(), **close)
    eps = normal(SHAPE, 9)
    z = gk.gaussian_rsample(loc, scale, eps=eps, **options)
    torch.testing.assert_close(z, loc + q.stddev * eps, **close)


def test_kl_is_zero_for_equal_distributions(every_isa: Backend) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        for scale_param in PARAMS:
            loc, scale = normal(SHAPE, 0, dtype), raw_scale(SHAPE, 1, scale_param).to(dtype)
            kl = gk.gaussian_kl(loc, scale, loc, scale, scale_param=scale_param, scale_offset=0.1, reduction="none")
            assert (kl == 0).all()
    assert (gk.gaussian_kl(torch.zeros(3, 4), torch.zeros(3, 4)) == 0).all()


def test_kl_is_never_negative(every_isa: Backend) -> None:
    sizes = torch.logspace(-40, 2, 2001, dtype=torch.float64)
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        for sign in (1, -1):
            scale = (sign * sizes).to(dtype)
            assert (gk.gaussian_kl(torch.zeros_like(scale), scale, event_ndim=0) >= 0).all()
            near = torch.full_like(scale, 1.5)
            for scale_param in PARAMS:
                prior = (near.double() * (1 + sign * sizes.clamp(max=0.5))).to(dtype)
                kl = gk.gaussian_kl(near, near, near, prior, scale_param=scale_param, event_ndim=0)
                assert (kl >= 0).all()


def test_a_mixed_argument_list_computes_in_the_widest_type(backend: Backend) -> None:
    loc, scale = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4)
    assert gk.gaussian_kl(loc, scale).dtype == torch.float64
    torch.testing.assert_close(gk.gaussian_kl(loc, scale), gk.gaussian_kl(loc, scale.double()), rtol=1e-14, atol=0)
    assert gk.gaussian_rsample(loc.bfloat16(), scale, key=KEY).dtype == torch.float32
    assert gk.gaussian_nll(loc.half(), scale, scale.bfloat16()).dtype == torch.float32


EXTREMES = (
    0.0,
    -0.0,
    1e-30,
    30.0,
    -30.0,
    88.0,
    -88.0,
    200.0,
    -200.0,
    1e4,
    -1e4,
    1e30,
    -1e30,
    math.inf,
    -math.inf,
    math.nan,
)


@pytest.mark.parametrize("scale_param", PARAMS)
@pytest.mark.parametrize("clamp", [None, (-20.0, 20.0)], ids=["free", "clamped"])
def test_extreme_values_are_infinite_or_nan_as_the_definition_says(
    every_isa: Backend, scale_param: str, clamp: tuple[float, float] | None
) -> None:
    scales = [s for s in EXTREMES if scale_param not in ("std", "var") or not s < 0]  # which have no negative values
    grid = torch.tensor(list(itertools.product(EXTREMES, scales)))
    options = {"scale_param": scale_param, "clamp": clamp}

    def results(dtype: torch.dtype) -> dict[str, Tensor]:
        loc, scale = grid.to(dtype).unbind(1)
        loc, scale = loc.clone().requires_grad_(), scale.clone().requires_grad_()
        ones = torch.ones_like(loc)
        outputs = {
            "sample": gk.gaussian_rsample(loc, scale, eps=0.5 * ones, **options),
            "kl": gk.gaussian_kl(loc, scale, event_ndim=0, **options),
            "kl to a prior": gk.gaussian_kl(ones, 0.5 * ones, loc, scale, event_ndim=0, **options),
            "nll": gk.gaussian_nll(0.5 * ones, loc, scale, event_ndim=0, **options),
            "entropy": gk.gaussian_entropy(scale, event_ndim=0, **options),
        }
        for name, output in list(outputs.items()):
            g = torch.autograd.grad(
                output, (loc, scale), torch.ones_like(output), allow_unused=True, materialize_grads=True
            )
            outputs[f"{name}'s gradient by loc"], outputs[f"{name}'s gradient by scale"] = g
        return outputs

    with oracle():
        exact = results(torch.float64)
    for dtype in (torch.float64, torch.float32):
        result = results(dtype)
        with oracle():
            expected = results(dtype)
        for name, value in result.items():
            # Where plain torch overflows on the way to a number that is not too large, the number is right, too.
            value, wanted, rounded = value.detach(), expected[name].detach(), exact[name].detach().to(dtype)
            wanted = torch.where(kind(rounded) == kind(value), rounded, wanted)
            if "gradient" in name:  # autograd meets 0 * inf and overflow where a kernel finds the limit
                wanted = torch.where(wanted.isnan() & ~grid.isnan().any(1), value, wanted)
                wanted = torch.where(wanted.isinf() & (value.abs() > 1e30), value, wanted)
            assert_same_class(f"{name}, {dtype}", value, wanted)


def kind(x: Tensor) -> Tensor:
    """0 for numbers, 1 and −1 for infinities, 2 for nan."""
    return torch.where(x.isnan(), 2, torch.where(x.isinf(), x.sign(), 0))


@pytest.mark.parametrize("loc_value", [1e4, 1e30])
def test_large_locations_lose_nothing_but_their_last_bits(every_isa: Backend, loc_value: float) -> None:
    loc, scale = torch.full((2, 3), loc_value), torch.zeros(2, 3)
    kl = gk.gaussian_kl(loc, scale, reduction="none").double()
    expected = 0.5 * loc.double() ** 2
    if loc_value == 1e4:
        assert ((kl - expected).abs() <= 2 * 2.0**-23 * expected).all()
    else:
        assert kl.isposinf().all()  # beyond float32
        assert (gk.gaussian_kl(loc.double(), scale, reduction="none") == expected).all()


def test_gaussian_log_prob_is_minus_the_nll(backend: Backend) -> None:
    x, loc, scale = torch.randn(3, 4, 5).unbind()
    for options in ({}, {"full": False}, {"reduction": "sum", "units": "bits"}, {"scale_param": "softplus"}):
        assert torch.equal(gk.gaussian_log_prob(x, loc, scale, **options), -gk.gaussian_nll(x, loc, scale, **options))
    assert torch.equal(gk.gaussian_log_prob(x, loc, "optimal"), -gk.gaussian_nll(x, loc, "optimal"))


def test_a_number_is_the_same_scale_as_a_tensor_full_of_it(backend: Backend) -> None:
    x, loc = torch.randn(2, 6, 5, dtype=torch.float64).unbind()
    for scale_param in PARAMS:
        by_number = gk.gaussian_nll(x, loc, 0.7, scale_param=scale_param)
        by_tensor = gk.gaussian_nll(x, loc, torch.full_like(x, 0.7), scale_param=scale_param)
        torch.testing.assert_close(by_number, by_tensor, rtol=1e-14, atol=1e-14)
    assert torch.equal(gk.gaussian_nll(x, loc, 1, scale_param="std"), gk.gaussian_nll(x, loc, 1.0, scale_param="std"))


def test_without_the_constant_the_nll_of_unit_variance_is_half_the_squared_error(backend: Backend) -> None:
    x, loc = torch.randn(2, 6, 5, dtype=torch.float64).unbind()
    half = 0.5 * (x - loc).square().sum(1)
    torch.testing.assert_close(gk.gaussian_nll(x, loc, full=False), half, rtol=1e-14, atol=0)
    constant = gk.gaussian_nll(x, loc) - gk.gaussian_nll(x, loc, full=False)
    torch.testing.assert_close(
        constant, torch.full((6,), 2.5 * math.log(2 * math.pi), dtype=x.dtype), rtol=1e-13, atol=0
    )


class TestOptimalScale:
    """σ² = mean squared error over the batch (Rybkin et al. 2021)."""

    def tensors(self) -> tuple[Tensor, Tensor]:
        return normal((6, 5), 0).requires_grad_(), normal((6, 5), 1).requires_grad_()

    def test_its_value_and_gradient_are_those_of_the_closed_form(self, backend: Backend) -> None:
        x, loc = self.tensors()
        total = gk.gaussian_nll(x, loc, "optimal", reduction="sum")
        closed = 0.5 * x.numel() * ((x - loc).square().mean().log() + 1 + math.log(2 * math.pi))
        torch.testing.assert_close(total, closed, rtol=1e-13, atol=0)
        got, expected = torch.autograd.grad(total, (x, loc)), torch.autograd.grad(closed, (x, loc))
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)

    def test_no_other_scale_gives_a_smaller_total(self, backend: Backend) -> None:
        x, loc = (t.detach() for t in self.tensors())
        best = gk.gaussian_nll(x, loc, "optimal", reduction="sum")
        for logvar in torch.linspace(-3, 3, 61).tolist():
            assert best <= gk.gaussian_nll(x, loc, logvar, reduction="sum")

    def test_clamp_bounds_the_log_variance(self, backend: Backend) -> None:
        x, loc = (t.detach() for t in self.tensors())
        bounded = gk.gaussian_nll(x, loc, "optimal", clamp=(1.5, 2.0))
        torch.testing.assert_close(bounded, gk.gaussian_nll(x, loc, 1.5), rtol=1e-13, atol=0)

    def test_bfloat16_data_has_a_float32_loss(self, backend: Backend) -> None:
        x, loc = (t.detach().bfloat16() for t in self.tensors())
        loss = gk.gaussian_nll(x, loc, "optimal")
        assert loss.dtype == torch.float32
        torch.testing.assert_close(
            loss, gk.gaussian_nll(x.double(), loc.double(), "optimal").float(), rtol=1e-6, atol=0
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("scale_param", ["logvar", "logstd"])
def test_an_offset_is_nothing_beside_a_sigma_beyond_the_range(
    scale_param: str, dtype: torch.dtype, every_isa: Backend
) -> None:
    beyond = math.log(torch.finfo(dtype).max) * (2 if scale_param == "logvar" else 1) + 5
    largest = torch.finfo(dtype).max
    x = torch.tensor([1.0, 1.0, math.inf, -math.inf, largest, largest], dtype=dtype)
    loc = torch.tensor([math.inf, -math.inf, 0.0, 1.0, -1.0, 0.5 * largest], dtype=dtype)
    scale = torch.full_like(x, beyond)
    for nll in (gk.gaussian_nll, gk.laplace_nll, gk.discretized_gaussian_nll):
        of = partial(nll, x, loc, scale=scale, scale_param=scale_param, event_ndim=0)
        with_offset, without = of(scale_offset=1.0), of(scale_offset=0.0)
        assert not with_offset.isnan().any()
        torch.testing.assert_close(with_offset, without)


class TestClamp:
    def slopes(self, raw: list[float], **options: object) -> tuple[Tensor, Tensor]:
        """The clamped raw scale, read from the entropy, and the gradient that comes through."""
        scale = torch.tensor(raw, dtype=torch.float64, requires_grad=True)
        value = 2 * gk.gaussian_entropy(scale, event_ndim=0, **options)
        (gradient,) = torch.autograd.grad(value.sum(), scale)
        return value.detach() - 1 - math.log(2 * math.pi), gradient

    def test_hard_bounds_pass_no_gradient_outside_and_all_of_it_on_the_bound(self, backend: Backend) -> None:
        value, gradient = self.slopes([-3.0, -1.0, 0.3, 2.0, 5.0], clamp=(-1.0, 2.0))
        torch.testing.assert_close(value, torch.tensor([-1.0, -1.0, 0.3, 2.0, 2.0], dtype=value.dtype))
        assert gradient.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]

    def test_straight_through_bounds_pass_the_gradient(self, backend: Backend) -> None:
        value, gradient = self.slopes([-3.0, 0.3, 5.0], clamp=(-1.0, 2.0), clamp_mode="straight_through")
        torch.testing.assert_close(value, torch.tensor([-1.0, 0.3, 2.0], dtype=value.dtype))
        assert gradient.tolist() == [1.0, 1.0, 1.0]

    def test_softclip_is_a_softplus_above_its_lower_bound(self, backend: Backend) -> None:
        raw = [-30.0, -1.0, 0.3, 50.0]
        value, gradient = self.slopes(raw, clamp=(-1.0, None), clamp_mode="softclip")
        x = torch.tensor(raw, dtype=torch.float64)
        torch.testing.assert_close(value, -1 + (x + 1).exp().log1p(), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(gradient, torch.sigmoid(x + 1), rtol=1e-13, atol=1e-15)

    def test_tanh_is_smooth_between_its_bounds(self, backend: Backend) -> None:
        raw = [-30.0, -1.0, 1e-9, 0.3, 50.0]
        value, gradient = self.slopes(raw, clamp=(-2.0, 2.0), clamp_mode="tanh")
        x = torch.tensor(raw, dtype=torch.float64)
        torch.testing.assert_close(value, 2 * torch.tanh(x / 2), rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(gradient, 1 / torch.cosh(x / 2) ** 2, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_result_is_a_number_where_only_a_step_to_it_is_not(dtype: torch.dtype, every_isa: Backend) -> None:
    largest = torch.finfo(dtype).max
    scale = torch.tensor([0.75 * largest, -0.75 * largest], dtype=dtype)
    eps = torch.full_like(scale, 0.5)
    z = gk.gaussian_rsample(torch.zeros_like(scale), scale, scale_param="std", eps=eps, temperature=2.0)
    torch.testing.assert_close(z, scale)  # temperature times sigma is none
    var = torch.tensor([0.25 / largest], dtype=dtype).requires_grad_()  # of a subnormal number 1 / var is none
    (gk.gaussian_kl(torch.zeros_like(var), var, scale_param="var", reduction="none") / 8).backward()
    torch.testing.assert_close(var.grad, torch.full_like(var, -largest / 4), rtol=1e-5, atol=0)
