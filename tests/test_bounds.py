"""Bounds from importance weights: values, order, gradients, infinities, and what does not fit into memory."""

import math

import mpmath
import numpy as np
import pytest
import torch
from support.tolerance import assert_as_accurate

import genkern as gk

INF, NAN = math.inf, math.nan
ESTIMATORS = {
    "iwae": {},
    "vae": {},
    "ciwae": {"beta": 0.3},
    "miwae": {"groups": 4},
    "renyi": {"alpha": 0.4},
    "renyi-above": {"alpha": 1.7},
    "renyi-negative": {"alpha": -1.5},
}
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)


def bound(name, log_w, **options):
    return gk.importance_weighted_bound(log_w, estimator=name.partition("-")[0], **ESTIMATORS[name], **options)


def weights(k=12, batch=5, dtype=torch.float64, spread=3.0):
    generator = torch.Generator().manual_seed(0)
    return (spread * torch.randn(k, batch, generator=generator, dtype=torch.float64) - 80).to(dtype)


def log_mean(values):
    return mpmath.log(mpmath.fsum(mpmath.exp(v) for v in values) / len(values))


def by_mpmath(name, log_w):
    """The formulas of the papers, with fifty digits."""
    with mpmath.workdps(50):
        return torch.tensor([float(_formula(name, [mpmath.mpf(v) for v in column])) for column in log_w.T.tolist()])


def _formula(name, values):
    options, mean = ESTIMATORS[name], mpmath.fsum(values) / len(values)
    if name == "vae":
        return mean
    if name == "ciwae":
        return mpmath.mpf(options["beta"]) * mean + (1 - mpmath.mpf(options["beta"])) * log_mean(values)
    if name == "miwae":
        size = len(values) // options["groups"]
        return mpmath.fsum(log_mean(values[at : at + size]) for at in range(0, len(values), size)) / options["groups"]
    if name.startswith("renyi"):
        power = 1 - mpmath.mpf(options["alpha"])
        return log_mean([power * v for v in values]) / power
    return log_mean(values)


def plain(name, log_w):
    """As people write them."""
    options = ESTIMATORS[name]

    def lme(t, dim=0):
        return t.logsumexp(dim) - math.log(t.shape[dim])

    if name == "vae":
        return log_w.mean(0)
    if name == "ciwae":
        return options["beta"] * log_w.mean(0) + (1 - options["beta"]) * lme(log_w)
    if name == "miwae":
        return lme(log_w.view(options["groups"], -1, log_w.shape[1]), 1).mean(0)
    if name.startswith("renyi"):
        return lme((1 - options["alpha"]) * log_w) / (1 - options["alpha"])
    return lme(log_w)


# Values


@every_estimator
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spread", [1e-3, 3.0, 30.0])
def test_values_are_those_of_the_papers(name, dtype, spread):
    log_w = weights(dtype=dtype, spread=spread)
    result = bound(name, log_w)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_as_accurate(name, result, by_mpmath(name, log_w.double()), plain(name, log_w.to(result.dtype)))


@every_estimator
@pytest.mark.parametrize("value", [0.0, 0.1, -1234.5678, 1e30])
def test_equal_weights_give_their_value(name, value):
    log_w = torch.full((12, 3), value)
    result = bound(name, log_w)
    if name in ("ciwae", "vae"):  # sums of twelve equal numbers round
        torch.testing.assert_close(result, log_w[0], rtol=1e-6, atol=0.0)
    else:
        assert torch.equal(result, log_w[0])


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("sign", [-1, 1])
def test_renyi_keeps_its_digits_close_to_the_elbo(distance, sign):
    log_w, power = weights(dtype=torch.float32), -sign * distance
    with mpmath.workdps(50):
        exact = [
            float(log_mean([(1 - mpmath.mpf(1 - power)) * mpmath.mpf(v) for v in column]) / (1 - mpmath.mpf(1 - power)))
            for column in log_w.T.tolist()
        ]
    result = gk.importance_weighted_bound(log_w, estimator="renyi", alpha=1 - power)
    # Two ulp of float32 at 90.
    torch.testing.assert_close(result.double(), torch.tensor(exact, dtype=torch.float64), rtol=0.0, atol=2 * 2**-17)


def test_bounds_are_ordered():
    log_w = weights()
    values = {name: bound(name, log_w) for name in ESTIMATORS}
    for lower, upper in (
        ("vae", "ciwae"),
        ("ciwae", "iwae"),
        ("vae", "miwae"),
        ("miwae", "iwae"),
        ("vae", "renyi"),
        ("renyi", "iwae"),
        ("renyi-above", "vae"),
        ("iwae", "renyi-negative"),
    ):
        assert (values[lower] < values[upper]).all(), (lower, upper)
    assert (values["renyi-negative"] < log_w.amax(0)).all()


def test_the_ends_of_each_family_are_the_others():
    log_w = weights()
    for estimator, option, ends in (
        ("ciwae", "beta", {0.0: "iwae", 1.0: "vae"}),
        ("miwae", "groups", {1: "iwae", 12: "vae"}),
        ("renyi", "alpha", {0.0: "iwae", 1.0: "vae"}),
    ):
        for value, other in ends.items():
            result = gk.importance_weighted_bound(log_w, estimator=estimator, **{option: value})
            torch.testing.assert_close(result, bound(other, log_w), rtol=1e-15, atol=0.0)


@every_estimator
def test_any_dimension_may_hold_the_draws(name):
    log_w = weights(12, 6).view(12, 2, 3)
    expected = bound(name, log_w.flatten(1)).view(2, 3)
    for dim in (0, 1, 2, -1):
        torch.testing.assert_close(bound(name, log_w.movedim(0, dim), dim=dim), expected)
    assert bound(name, log_w[:, 0, 0]).shape == ()
    assert bound(name, log_w[:, :0]).shape == (0, 3)


def test_a_million_weights_in_float32_lose_no_digits():
    log_w = torch.randn(1_000_000, 1) * 5 + 300
    exact = log_w.double().logsumexp(0) - math.log(1e6)
    # One ulp of float32 at 300, and as much for the sum.
    torch.testing.assert_close(gk.log_mean_exp(log_w).double(), exact, rtol=0.0, atol=2 * 2**-15)


# Infinities


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([0.0, -INF], math.log(0.5)),
        ([-INF, -INF], -INF),
        ([INF, 0.0], INF),
        ([INF, -INF], INF),
        ([INF, INF], INF),
        ([NAN, 0.0], NAN),
        ([NAN, INF], NAN),
        ([3e38, 3e38], 3e38),
        ([-3e38, 3e38], 3e38),
    ],
)
def test_infinite_log_weights_count_as_weights_of_0_and_infinity(column, expected):
    log_w = torch.tensor(column)[:, None].requires_grad_()
    for result in (gk.log_mean_exp(log_w), gk.importance_weighted_bound(log_w)):
        torch.testing.assert_close(result, torch.tensor([expected]), equal_nan=True)
    (grad,) = torch.autograd.grad(result.sum(), log_w)
    if math.isinf(expected):
        assert (grad == 0).all()
    elif not math.isnan(expected):
        torch.testing.assert_close(grad[:, 0], torch.tensor(column).softmax(0))


def test_infinities_of_the_other_estimators():
    zero = torch.tensor([[0.0], [-INF]])
    for options, expected in (
        ({"estimator": "vae"}, -INF),
        ({"estimator": "ciwae", "beta": 0.5}, -INF),
        ({"estimator": "ciwae", "beta": 0.0}, math.log(0.5)),
        ({"estimator": "miwae", "groups": 2}, -INF),
        ({"estimator": "miwae", "groups": 1}, math.log(0.5)),
        ({"estimator": "renyi", "alpha": 0.5}, 2 * math.log(0.5)),
        ({"estimator": "renyi", "alpha": 1.5}, -INF),
    ):
        result = gk.importance_weighted_bound(zero, **options)
        torch.testing.assert_close(result, torch.tensor([expected]), msg=str(options))


def test_an_impossible_datum_leaves_the_gradients_of_the_others_alone():
    log_w = weights(4, 3).index_fill(1, torch.tensor([1]), -INF).requires_grad_()
    (grad,) = torch.autograd.grad(gk.importance_weighted_bound(log_w).sum(), log_w)
    torch.testing.assert_close(grad[:, [0, 2]], log_w[:, [0, 2]].softmax(0))
    assert (grad[:, 1] == 0).all()


# Gradients


@every_estimator
def test_gradients_of_both_orders_are_right(name):
    log_w = weights(8, 3).add_(80).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: bound(name, t), log_w)
    assert torch.autograd.gradgradcheck(lambda t: bound(name, t), log_w)


@pytest.mark.parametrize("spread", [1e-3, 30.0])
def test_gradient_of_the_bound_is_the_normalised_weights(spread):
    log_w = weights(spread=spread, dtype=torch.float32).requires_grad_()
    (grad,) = torch.autograd.grad(gk.importance_weighted_bound(log_w).sum(), log_w)
    torch.testing.assert_close(grad, log_w.softmax(0))


@every_estimator
def test_compiled_and_vectorised_values_are_the_same(name):
    log_w = weights()
    compiled = torch.compile(lambda t: bound(name, t), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(log_w), bound(name, log_w))
    by_column = torch.func.vmap(lambda t: bound(name, t), in_dims=1)(log_w)
    torch.testing.assert_close(by_column, bound(name, log_w))


# The doubly reparameterised gradient, on z ~ N(0, 1), x | z ~ N(a z, s²), q = N(m, exp(l)²): every pair of draws at the
# nodes of a Gauss–Hermite quadrature, so that expectations over the noise are sums without any noise of their own.

X, S = 1.3, 0.6


def pairs(nodes=100):
    points, masses = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(nodes))
    masses = masses / masses.sum()
    return torch.cartesian_prod(points, points).T, torch.cartesian_prod(masses, masses).prod(1)


def model(eps, loc, log_std, slope, *, detach):
    """z and log w of each draw; everything float64."""
    z = loc + log_std.exp() * eps
    normal = torch.distributions.Normal
    log_p = normal(0.0, 1.0).log_prob(z) + normal(slope * z, S).log_prob(torch.tensor(X, dtype=torch.float64))
    held = [p.detach() if detach else p for p in (loc, log_std)]
    return z, log_p - normal(held[0], held[1].exp()).log_prob(z)


def gradients(estimator, eps, loc=0.3, log_std=-0.2, slope=0.8):
    """Of each pair's bound by its own copy of the parameters of q, and by the decoder's slope."""
    leaves = [torch.full(eps.shape[1:], v, dtype=torch.float64, requires_grad=True) for v in (loc, log_std, slope)]
    z, log_w = model(eps, *leaves, detach=estimator == "dreg")
    latent = {"latent": z} if estimator == "dreg" else {}
    value = gk.importance_weighted_bound(log_w, estimator=estimator, **latent)
    return value.detach(), torch.stack(torch.autograd.grad(value.sum(), leaves))


def test_doubly_reparameterised_gradient_has_the_expectation_of_the_bounds():
    eps, masses = pairs()
    value, plain_grads = gradients("iwae", eps)
    dreg_value, dreg_grads = gradients("dreg", eps)
    assert torch.equal(dreg_value, value)
    # The two differ by 7e-7, 3e-8 and 3e-9 with 60, 90 and 120 nodes: what is left is the quadrature's error.
    torch.testing.assert_close(dreg_grads @ masses, plain_grads @ masses, rtol=0.0, atol=3e-8)
    assert ((plain_grads @ masses).abs() > 0.01).all()


def test_doubly_reparameterised_gradient_has_less_variance():
    eps, masses = pairs()

    def variance(estimator):
        _, grads = gradients(estimator, eps)
        return grads.square() @ masses - (grads @ masses).square()

    encoder = slice(0, 2)
    assert (variance("dreg")[encoder] < 0.2 * variance("iwae")[encoder]).all()


def test_decoder_gets_the_gradient_of_the_plain_bound_draw_by_draw():
    eps, _ = pairs(10)
    assert torch.equal(gradients("dreg", eps)[1][2], gradients("iwae", eps)[1][2])


def test_one_draw_reparameterised_doubly_is_the_closed_form_of_the_elbo():
    """d/dm and d/dl of E log w for one draw: the ELBO's gradient, since the expected score of q is zero."""
    points, masses = (torch.tensor(v) for v in np.polynomial.hermite_e.hermegauss(20))
    _, grads = gradients("dreg", points[None], loc=0.3, log_std=-0.2, slope=0.8)
    mean = grads @ masses / masses.sum()
    variance, precision = math.exp(-0.4), 1 + 0.8**2 / S**2
    by_loc = 0.8 * X / S**2 - 0.3 * precision
    by_log_std = 1 - variance * precision
    torch.testing.assert_close(mean[:2], torch.tensor([by_loc, by_log_std], dtype=torch.float64))


def test_at_the_exact_posterior_the_encoders_gradient_is_zero_for_every_draw():
    eps, _ = pairs(10)
    precision = 1 + 0.8**2 / S**2
    exact = {"loc": 0.8 * X / S**2 / precision, "log_std": -0.5 * math.log(precision)}
    _, dreg = gradients("dreg", eps, **exact)
    _, plain_grads = gradients("iwae", eps, **exact)
    # Sums of three terms of size 5 that cancel.
    torch.testing.assert_close(dreg[:2], torch.zeros_like(dreg[:2]), rtol=0.0, atol=1e-13)
    assert plain_grads[:2].abs().max() > 0.5


def test_doubly_reparameterised_without_gradients_is_the_bound():
    z, log_w = torch.randn(4, 3, 2), weights(4, 3)
    assert torch.equal(gk.importance_weighted_bound(log_w, estimator="dreg", latent=z), gk.log_mean_exp(log_w))


# More than memory holds


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("dim", [0, -1])
def test_pieces_give_the_whole(dtype, chunk, dim):
    log_w = weights(100, 4, dtype, spread=20.0).movedim(0, dim)
    total = gk.LogMeanExp(dim)
    for piece in log_w.split(chunk, dim):
        total.update(piece)
    assert total.count == 100
    result, expected = total.compute(), gk.log_mean_exp(log_w.double(), dim)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    # A hundred roundings in float64, which hardly add up; one more in the result's dtype.
    rtol = max(torch.finfo(result.dtype).eps, 16 * torch.finfo(torch.float64).eps)
    torch.testing.assert_close(result, expected.to(result.dtype), rtol=rtol, atol=0.0)


def test_sixteen_million_values_do_not_drown_the_next():
    total = gk.LogMeanExp()
    total.update(torch.zeros(1))
    for _ in range(24):  # doubled until the sum is 2^24, where float32 would take no further 1
        total.merge(total)
    total.update(torch.tensor([math.log(2.0**24)]))
    assert total.count == 2**24 + 1
    # Half of the sum came in the last piece.
    assert total.compute().item() == pytest.approx(math.log(2), rel=1e-6)


def test_merging_is_as_updating():
    log_w = weights(10, 3)
    first, second, both = gk.LogMeanExp(), gk.LogMeanExp(), gk.LogMeanExp()
    first.update(log_w[:4])
    second.update(log_w[4:])
    both.merge(first)
    both.merge(second)
    both.merge(gk.LogMeanExp())
    assert (first.count, second.count, both.count) == (4, 6, 10)
    torch.testing.assert_close(both.compute(), gk.log_mean_exp(log_w))


@pytest.mark.parametrize("values", [[-INF, -INF, 0.0], [INF, 1000.0, -INF], [-INF, -INF], [NAN, 0.0], [5.0, INF, INF]])
def test_pieces_with_infinities_are_as_the_whole(values):
    total = gk.LogMeanExp()
    for value in values:
        total.update(torch.tensor([value]))
    torch.testing.assert_close(total.compute(), gk.log_mean_exp(torch.tensor(values)), equal_nan=True)


def test_state_is_one_number_a_result():
    total = gk.LogMeanExp()
    leaf = torch.randn(50, 3, requires_grad=True)
    for _ in range(3):
        total.update(leaf)
    held = [v for v in vars(total).values() if isinstance(v, torch.Tensor)]
    assert [v.numel() for v in held] == [3] and not total.compute().requires_grad


# Refusals


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"estimator": "elbo"}, ValueError, "^estimator: expected one of 'iwae'"),
        ({"estimator": "ciwae"}, ValueError, "^beta: expected a value for estimator 'ciwae', got None"),
        ({"beta": 0.5}, ValueError, "^beta: expected None for estimator 'iwae', got float"),
        ({"estimator": "ciwae", "beta": 1.5}, ValueError, r"^beta: expected a number in \[0, 1\], got 1.5"),
        ({"estimator": "miwae", "groups": 5}, ValueError, "^groups: expected a divisor of the 12 draws, got 5"),
        ({"estimator": "miwae", "groups": 2.0}, TypeError, "^groups: expected an int or None, got float"),
        ({"estimator": "renyi", "alpha": INF}, ValueError, "^alpha: expected a finite number"),
        ({"estimator": "renyi", "alpha": NAN}, ValueError, "^alpha: expected a finite number"),
        ({"estimator": "dreg"}, ValueError, "^latent: expected a value for estimator 'dreg'"),
        ({"estimator": "dreg", "latent": torch.ones(12, 4, 2)}, ValueError, r"^latent: .*\(12, 5\), got \(12, 4, 2\)"),
        ({"dim": 2}, ValueError, r"^dim: expected a dimension of \(12, 5\), got 2"),
    ],
)
def test_refusals_name_the_argument(options, error, match):
    with pytest.raises(error, match=match):
        gk.importance_weighted_bound(weights(), **options)


def test_nothing_to_average_is_refused():
    for log_w in (torch.ones(0, 3), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="^log_w: expected at least one"):
            gk.log_mean_exp(log_w, 0)
    with pytest.raises(ValueError, match="^log_w: expected at least one value before compute"):
        gk.LogMeanExp().compute()
    total = gk.LogMeanExp()
    total.update(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"^log_w: expected shape \(3,\) beside dim, got \(4,\)"):
        total.update(torch.ones(2, 4))
    with pytest.raises(TypeError, match="^other: expected a LogMeanExp, got int"):
        total.merge(3)
