"""The residual head of a hierarchical VAE against the two Gaussians it stands for, made explicit."""

import mpmath
import pytest
import torch
from support.backends import Backend
from support.cases import KEY
from support.inputs import cotangent, normal, raw_scale
from torch import Tensor
from torch.nn.functional import softplus

import genkern as gk

PARAMS = ("logvar", "logstd", "std", "var", "softplus")
SHAPE = (4, 3, 5)


def parameters(scale_param: str = "logvar", shape: tuple[int, ...] = SHAPE) -> list[Tensor]:
    drawn = normal(shape, 0), raw_scale(shape, 1, scale_param), normal(shape, 2), raw_scale(shape, 3, scale_param)
    return [t.requires_grad_() for t in drawn]


def posterior(values: list[Tensor], scale_param: str = "logvar") -> tuple[Tensor, Tensor]:
    """q = prior + residual in the same parameterisation: the standard deviations multiply."""
    prior_loc, prior_scale, delta_loc, delta_scale = values
    if scale_param in ("logvar", "logstd"):
        scale = prior_scale + delta_scale
    elif scale_param == "softplus":
        scale = (softplus(prior_scale) * softplus(delta_scale)).expm1().log()
    else:
        scale = prior_scale * delta_scale
    return prior_loc + delta_loc, scale


def gradients(outputs: tuple[Tensor, ...], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(outputs, leaves, [cotangent(o, i) for i, o in enumerate(outputs)])


@pytest.mark.parametrize("scale_param", PARAMS)
def test_it_is_the_head_with_an_explicit_prior(every_isa: Backend, scale_param: str) -> None:
    values, eps = parameters(scale_param), normal(SHAPE, 4).requires_grad_()
    leaves = [*values, eps]
    for options in ({}, {"temperature": 0.7}, {"reduction": "none", "units": "bits"}, {"free_bits": 0.4}):
        z, kl, log_q, log_p = gk.gaussian_residual_rsample_kl(*values, eps=eps, scale_param=scale_param, **options)
        loc, scale = posterior(values, scale_param)
        head = gk.gaussian_rsample_kl(loc, scale, *values[:2], eps=eps, scale_param=scale_param, **options)
        loss = {name: v for name, v in options.items() if name in ("reduction", "units")} | {"scale_param": scale_param}
        densities = [gk.gaussian_log_prob(head[0], *of, **loss) for of in ((loc, scale), values[:2])]
        explicit = (*head, *densities)
        # float64; q's scale is made by a detour where the parameterisation is softplus.
        torch.testing.assert_close((z, kl, log_q, log_p), explicit, rtol=1e-12, atol=1e-12)
        got, expected = gradients((z, kl, log_q, log_p), leaves), gradients(explicit, leaves)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("scale_param", PARAMS)
def test_its_densities_are_those_of_the_sample(every_isa: Backend, scale_param: str) -> None:
    values = [v.detach() for v in parameters(scale_param)]
    options = {"scale_param": scale_param, "scale_offset": 0.1, "clamp": (-0.5, 0.9)}
    z, _, log_q, log_p = gk.gaussian_residual_rsample_kl(*values, key=KEY, **options)
    torch.testing.assert_close(log_p, gk.gaussian_log_prob(z, *values[:2], **options), rtol=1e-12, atol=1e-12)
    # Clamp and offset are each scale's own, so q's standard deviation is the product of two samples' spreads.
    zero, one = torch.zeros(SHAPE, dtype=torch.float64), torch.ones(SHAPE, dtype=torch.float64)
    sigma_p, sigma_d = (gk.gaussian_rsample(zero, raw, eps=one, **options) for raw in (values[1], values[3]))
    of_q = gk.gaussian_log_prob(z, values[0] + values[2], sigma_p * sigma_d, scale_param="std")
    torch.testing.assert_close(log_q, of_q, rtol=1e-12, atol=1e-12)


def test_the_divergence_keeps_its_digits_where_q_collapses_onto_p(every_isa: Backend) -> None:
    """float32 within a few ulp of 40 digits, beside a prior far from 0 whose location would swallow the residual's."""
    sizes = torch.logspace(-12, -1, 45, dtype=torch.float64)
    delta_scale = torch.cat((sizes, -sizes)).float()
    delta_loc = delta_scale.flip(0) / 3
    prior_loc, prior_scale = torch.full_like(delta_loc, 1000.0), torch.full_like(delta_loc, 1.5)
    tensors = (prior_loc, prior_scale, delta_loc, delta_scale)
    _, kl, _, _ = gk.gaussian_residual_rsample_kl(*tensors, key=KEY, reduction="none")
    with mpmath.workdps(40):
        variance = mpmath.exp(mpmath.mpf(1.5))
        truth = [
            (mpmath.expm1(d) - d + mpmath.mpf(m) ** 2 / variance) / 2
            for m, d in zip(delta_loc.tolist(), delta_scale.tolist(), strict=True)
        ]
        relative = [abs(mpmath.mpf(value) / right - 1) for value, right in zip(kl.tolist(), truth, strict=True)]
    assert max(relative) < 8 * 2.0**-23


def test_the_divergence_is_zero_without_a_residual_and_never_negative(every_isa: Backend) -> None:
    sizes = torch.logspace(-40, 1, 501, dtype=torch.float64)
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        prior = normal(SHAPE, 0, dtype), normal(SHAPE, 1, dtype)
        none = torch.zeros(SHAPE, dtype=dtype)
        z, kl, log_q, log_p = gk.gaussian_residual_rsample_kl(*prior, none, none, key=KEY)
        assert (kl == 0).all()
        torch.testing.assert_close(log_q, log_p, rtol=0, atol=0)
        assert torch.equal(z, gk.gaussian_rsample(*prior, key=KEY))
        for sign in (1, -1):
            residual = (sign * sizes).to(dtype)
            prior_scale = torch.full_like(residual, 0.7)
            kl = gk.gaussian_residual_rsample_kl(residual, prior_scale, residual, residual, event_ndim=0)[1]
            assert (kl >= 0).all()


def test_the_expected_log_ratio_is_the_divergence(backend: Backend) -> None:
    values = [v.detach().flatten()[:6] for v in parameters()]
    many = 200_000
    expanded = [v.expand(many, 6) for v in values]
    _, kl, log_q, log_p = gk.gaussian_residual_rsample_kl(*expanded, key=KEY, reduction="none")
    ratio = log_q - log_p
    standard_error = ratio.std(0) / many**0.5
    assert ((ratio.mean(0) - kl[0]).abs() < 5 * standard_error).all()


def test_gradient_scales_balance_q_and_p_as_functions_of_all_four(every_isa: Backend) -> None:
    """0.2 KL(q ‖ sg p) + 0.8 KL(sg q ‖ p), with q made explicit: the prior is part of both."""
    for scale_param in ("logvar", "std"):
        values = parameters(scale_param)
        options = {"scale_param": scale_param, "reduction": "sum"}
        q, p = posterior(values, scale_param), values[:2]
        to_q = gk.gaussian_kl(*q, *(t.detach() for t in p), **options)
        to_p = gk.gaussian_kl(*(t.detach() for t in q), *p, **options)
        expected = torch.autograd.grad(0.2 * to_q + 0.8 * to_p, values)
        balanced = {"key": KEY, "grad_scale_q": 0.2, "grad_scale_p": 0.8}
        z, kl, log_q, log_p = gk.gaussian_residual_rsample_kl(*values, **options, **balanced)
        torch.testing.assert_close(torch.autograd.grad(kl, values, retain_graph=True), expected, rtol=1e-12, atol=1e-13)
        plain = gk.gaussian_residual_rsample_kl(*values, **options, key=KEY)
        assert all(torch.equal(a, b) for a, b in zip((z, kl, log_q, log_p), plain, strict=True))
        others = [gradients((z, log_q, log_p), values), gradients((plain[0], *plain[2:]), values)]
        torch.testing.assert_close(*others, rtol=1e-14, atol=1e-15)


def test_balance_leaves_the_divergence_to_an_infinite_prior_as_it_is(every_isa: Backend) -> None:
    prior_loc, one = torch.tensor([torch.inf, -torch.inf, 1e38]), torch.ones(3)
    _, kl, _, _ = gk.gaussian_residual_rsample_kl(
        prior_loc, 0 * one, one, 0 * one, grad_scale_q=0.2, grad_scale_p=0.8, event_ndim=0
    )
    torch.testing.assert_close(kl, torch.full((3,), 0.5), rtol=1e-6, atol=0)


@pytest.mark.parametrize("over", ["event", "batch"])
@pytest.mark.parametrize("reduction", ["event", "none", "sum", "mean", "batchmean"])
@pytest.mark.parametrize("units", ["nats", "bits", "bits_per_dim"])
def test_free_bits_over_data_floor_the_divergence_and_nothing_else(
    backend: Backend, over: str, reduction: str, units: str
) -> None:
    values = [v.detach() for v in parameters()]
    options = {"reduction": reduction, "units": units}
    floored = gk.gaussian_residual_rsample_kl(*values, key=KEY, free_bits=9.0, free_bits_over=over, **options)
    plain = gk.gaussian_residual_rsample_kl(*values, key=KEY, **options)
    kl = gk.gaussian_kl(*posterior(values), *values[:2], free_bits=9.0, free_bits_over=over, **options)
    expected = (plain[0], kl, *plain[2:])
    torch.testing.assert_close(floored, expected, rtol=1e-12, atol=1e-13)


def test_ranks_that_share_a_batch_draw_its_sample_between_them(every_isa: Backend) -> None:
    values = [v.detach().float() for v in parameters()]
    whole = gk.gaussian_residual_rsample_kl(*values, key=KEY)
    halves = [
        gk.gaussian_residual_rsample_kl(*(v[rows : rows + 2] for v in values), key=KEY, element_offset=rows * 15)
        for rows in (0, 2)
    ]
    for parts, value in zip(zip(*halves, strict=True), whole, strict=True):
        torch.testing.assert_close(torch.cat(parts), value, rtol=1e-6, atol=1e-6)  # sums of 15, elsewhere in a vector
    assert torch.equal(torch.cat([h[0] for h in halves]), whole[0])


def test_arguments_broadcast_and_their_gradients_are_summed(backend: Backend) -> None:
    shapes = [(3, 4, 5), (4, 1), (5,), ()]
    for turn in range(4):
        leaves = [normal(shape, i).requires_grad_() for i, shape in enumerate(shapes[turn:] + shapes[:turn])]
        outputs = gk.gaussian_residual_rsample_kl(*leaves, key=KEY)
        wide = gk.gaussian_residual_rsample_kl(*(t.expand(3, 4, 5) for t in leaves), key=KEY)
        torch.testing.assert_close(outputs, wide, rtol=1e-13, atol=1e-13)
        # Sums of up to 60 terms in float64.
        torch.testing.assert_close(gradients(outputs, leaves), gradients(wide, leaves), rtol=1e-11, atol=1e-12)


def test_mixed_types_compute_in_the_widest_and_sample_in_the_promoted(backend: Backend) -> None:
    values = [v.detach() for v in parameters()]
    mixed = [values[0].bfloat16(), values[1].half(), values[2].float(), values[3].bfloat16()]
    outputs = gk.gaussian_residual_rsample_kl(*mixed, key=KEY)
    assert [o.dtype for o in outputs] == [torch.float32] * 4
    halves = gk.gaussian_residual_rsample_kl(*(v.bfloat16() for v in values), key=KEY)
    assert [o.dtype for o in halves] == [torch.bfloat16] + [torch.float32] * 3
    for widened in range(4):
        one_wide = [v if i == widened else v.float() for i, v in enumerate(values)]
        outputs = gk.gaussian_residual_rsample_kl(*one_wide, key=KEY)
        assert [o.dtype for o in outputs] == [torch.float64] * 4
        all_wide = gk.gaussian_residual_rsample_kl(*(v.double() for v in one_wide), key=KEY)
        torch.testing.assert_close(outputs, all_wide, rtol=1e-14, atol=1e-14)


def test_a_list_of_generators_draws_each_row_from_its_own(backend: Backend) -> None:
    for dtype in (torch.float64, torch.float32):
        values = [v.detach().float() for v in parameters()]
        values[2] = values[2].to(dtype)

        def draw(*seeds: int, values: list[Tensor] = values) -> Tensor:
            generators = [torch.Generator().manual_seed(s) for s in seeds]
            return gk.gaussian_residual_rsample_kl(*values, generator=generators)[0]

        whole, others = draw(1, 2, 3, 4), draw(9, 2, 8, 7)
        assert torch.equal(whole[1], others[1])
        assert not torch.equal(whole[0], others[0])
        key = gk.random.reserve(torch.Generator().manual_seed(2))
        alone = gk.gaussian_residual_rsample_kl(*(v[1] for v in values), key=key)[0]
        assert torch.equal(alone, whole[1])


def test_the_default_generator_gives_fresh_noise_that_manual_seed_repeats(backend: Backend) -> None:
    values = [v.detach() for v in parameters()]
    torch.manual_seed(1)
    first, second = (gk.gaussian_residual_rsample_kl(*values)[0] for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(gk.gaussian_residual_rsample_kl(*values)[0], first)
    given = gk.gaussian_residual_rsample_kl(*values, generator=torch.Generator().manual_seed(3))[0]
    key = gk.random.reserve(torch.Generator().manual_seed(3))
    assert torch.equal(given, gk.gaussian_residual_rsample_kl(*values, key=key)[0])


def test_a_tensor_that_does_not_fit_is_named(backend: Backend) -> None:
    values = [torch.zeros(2, 4) for _ in range(4)]
    for i, name in enumerate(("prior_loc", "prior_scale", "delta_loc", "delta_scale")):
        for key in (KEY, None):
            with pytest.raises(TypeError, match=f"{name}: expected a Tensor, got int"):
                gk.gaussian_residual_rsample_kl(*values[:i], 1, *values[i + 1 :], key=key)
        if i:
            with pytest.raises(ValueError, match=f"{name}: expected a shape that broadcasts with"):
                gk.gaussian_residual_rsample_kl(*values[:i], torch.zeros(2, 3), *values[i + 1 :], key=KEY)
    with pytest.raises(ValueError, match=r"eps: expected shape \(2, 4\), that of the sample, got \(4,\)"):
        gk.gaussian_residual_rsample_kl(*values, eps=torch.zeros(4))
    with pytest.raises(ValueError, match="key, generator, eps: expected at most one"):
        gk.gaussian_residual_rsample_kl(*values, key=KEY, eps=values[0])
