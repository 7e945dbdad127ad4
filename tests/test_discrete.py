"""Entropies, divergences and relaxed samples of discrete distributions: closed forms, other libraries, extremes."""

import math
import subprocess
import sys
from pathlib import Path

import mpmath
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from support.backends import Backend
from support.inputs import normal
from support.tolerance import assert_as_accurate
from torch import Tensor

import genkern as gk
from genkern.reference.discrete import gumbel

INF = math.inf
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def grey_levels() -> tuple[Tensor, Tensor]:
    """Images of scikit-learn's digits, 17 grey levels a pixel, and their labels."""
    digits = load_digits()
    return torch.from_numpy(digits.data).long(), torch.from_numpy(digits.target)


def frequencies(levels: Tensor) -> Tensor:
    return torch.bincount(levels.flatten(), minlength=17).double() / levels.numel()


def exact_kl(logits_q: Tensor, logits_p: Tensor) -> Tensor:
    """In float64, from logits that are nearly equal: the plain formula has digits to spare there."""
    log_q, log_p = logits_q.double().log_softmax(-1), logits_p.double().log_softmax(-1)
    return (log_q.exp() * (log_q - log_p)).sum(-1)


def test_entropy_and_divergence_of_the_digits(every_isa: Backend) -> None:
    images, labels = grey_levels()
    zeros, ones = frequencies(images[labels == 0]), frequencies(images[labels == 1])
    assert gk.discrete_entropy(frequencies(images), units="bits").item() == pytest.approx(2.976668, abs=5e-7)
    assert gk.discrete_kl(zeros, ones, units="bits").item() == pytest.approx(0.139589, abs=5e-7)
    assert gk.discrete_kl(ones, zeros, units="bits").item() == pytest.approx(0.145287, abs=5e-7)


def test_divergence_of_two_biased_coins(every_isa: Backend) -> None:
    fair, biased = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    torch.testing.assert_close(gk.discrete_kl(fair, biased), torch.tensor(0.5 * math.log(4 / 3)))
    backwards = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    torch.testing.assert_close(gk.discrete_kl(biased, fair), torch.tensor(backwards))


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_masses_agree_with_scipy(every_isa: Backend, dim: int) -> None:
    p, q = (torch.softmax(2 * normal((5, 7, 6), seed), dim) for seed in (0, 1))
    entropy = torch.from_numpy(stats.entropy(p.numpy(), axis=dim, base=2))
    kl = torch.from_numpy(stats.entropy(p.numpy(), q.numpy(), axis=dim))
    # float64, sums of up to 7 terms of order 1
    torch.testing.assert_close(
        gk.discrete_entropy(p, dim=dim, reduction="none", units="bits"), entropy, rtol=1e-13, atol=1e-14
    )
    torch.testing.assert_close(gk.discrete_kl(p, q, dim=dim, reduction="none"), kl, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_logits_agree_with_torch_distributions(every_isa: Backend, dim: int) -> None:
    logits_q, logits_p = (2 * normal((4, 5, 9), seed) for seed in (0, 1))
    q, p = (torch.distributions.Categorical(logits=t.movedim(dim, -1)) for t in (logits_q, logits_p))
    # float64, sums of up to 9 terms of order 1
    close = {"rtol": 1e-12, "atol": 1e-13}
    torch.testing.assert_close(gk.categorical_entropy(logits_q, dim=dim, reduction="none"), q.entropy(), **close)
    kl = torch.distributions.kl_divergence(q, p)
    torch.testing.assert_close(gk.categorical_kl(logits_q, logits_p, dim=dim, reduction="none"), kl, **close)


def test_a_uniform_distribution_has_log_k_nats_of_entropy_and_no_divergence_from_the_default(backend: Backend) -> None:
    logits = torch.full((3, 4, 10), 7.0)
    torch.testing.assert_close(gk.categorical_entropy(logits), torch.full((3,), 4 * math.log(10)))
    assert (gk.categorical_kl(logits) == 0).all()
    assert (gk.categorical_kl(logits, unimix=0.3) == 0).all()


def test_values_are_summed_over_the_event_of_what_remains_without_the_classes(backend: Backend) -> None:
    logits = normal((2, 3, 4, 5), 0)
    each = gk.categorical_entropy(logits, dim=1, reduction="none")
    assert each.shape == (2, 4, 5)
    torch.testing.assert_close(gk.categorical_entropy(logits, dim=1), each.sum((1, 2)))
    torch.testing.assert_close(gk.categorical_entropy(logits, dim=1, event_ndim=1), each.sum(2))
    in_bits = each.sum((1, 2)) / math.log(2)
    torch.testing.assert_close(gk.categorical_entropy(logits, dim=1, units="bits"), in_bits)
    torch.testing.assert_close(gk.categorical_entropy(logits, dim=1, units="bits_per_dim"), in_bits / 20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5, 1e-6])
def test_the_divergence_of_nearly_equal_logits_keeps_its_digits(
    every_isa: Backend, distance: float, dtype: torch.dtype
) -> None:
    logits_q = (2 * normal((64, 17), 0)).to(dtype)
    logits_p = logits_q + (distance * normal((64, 17), 1)).to(dtype)
    kl = gk.categorical_kl(logits_q, logits_p).double()
    second_order = _series(logits_q.double(), logits_p.double())
    assert (kl >= 0).all()
    error = ((kl - second_order) / second_order).abs().max()
    # 17 terms, each within a few ulp; the shift between the two normalisers adds as much.
    assert error < 32 * torch.finfo(dtype).eps


def _series(logits_q: Tensor, logits_p: Tensor) -> Tensor:
    """The divergence from the differences of the logits, by exact sums in float64 of terms that do not cancel."""
    d = logits_q - logits_p
    p = logits_p.softmax(-1)
    r = d - torch.log1p((p * torch.expm1(d)).sum(-1, keepdim=True))
    powers = sum((-r) ** n / math.factorial(n) for n in range(2, 20))
    return (logits_q.softmax(-1) * powers).sum(-1)


def test_equal_logits_have_no_divergence_and_shifted_ones_neither(every_isa: Backend) -> None:
    logits = normal((64, 33), 0, torch.float32)
    assert (gk.categorical_kl(logits, logits) == 0).all()
    assert (gk.categorical_kl(logits, logits, unimix=0.01) == 0).all()
    # 1024 takes the low 10 bits of the logits with it, so the distributions differ by that.
    shifted = (logits * 2**10).round() / 2**10
    assert (gk.categorical_kl(shifted, shifted + 1024) == 0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [30.0, 88.0, 1e4])
def test_extreme_logits_give_finite_values_and_gradients(every_isa: Backend, size: float, dtype: torch.dtype) -> None:
    logits_q = (size * torch.tensor([[1.0, -1.0, 0.0, 1.0], [-1.0, -1.0, -1.0, 1.0]])).to(dtype).requires_grad_()
    logits_p = (size * torch.tensor([[-1.0, 1.0, 0.0, 1.0], [1.0, -1.0, -1.0, -1.0]])).to(dtype).requires_grad_()
    for unimix in (0.0, 0.01):
        kl = gk.categorical_kl(logits_q, logits_p, unimix=unimix)
        entropy = gk.categorical_entropy(logits_q)
        grads = torch.autograd.grad(kl.sum() + entropy.sum(), (logits_q, logits_p))
        assert kl.isfinite().all() and (kl >= 0).all() and (entropy >= 0).all()
        assert all(g.isfinite().all() for g in grads)
    expected = exact_kl(logits_q.detach(), logits_p.detach())
    torch.testing.assert_close(gk.categorical_kl(logits_q, logits_p).detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_a_small_entropy_keeps_its_digits(every_isa: Backend) -> None:
    for gap in (15.0, 20.0, 40.0, 80.0):
        entropy = gk.categorical_entropy(torch.tensor([[0.0, -gap, -INF]])).double()
        rest = math.exp(-gap)
        expected = math.log1p(rest) + gap * rest / (1 + rest)
        if every_isa.mode != "reference":  # which takes torch's log_softmax
            torch.testing.assert_close(entropy, torch.tensor([expected], dtype=torch.float64), rtol=1e-6, atol=0)
        assert entropy >= 0


def test_logits_of_minus_infinity_are_classes_without_mass(every_isa: Backend) -> None:
    with_none = torch.tensor([[0.3, -INF, 1.2, -INF]], requires_grad=True)
    other = torch.tensor([[0.1, -INF, -0.4, -INF]], requires_grad=True)
    kl = gk.categorical_kl(with_none, other)
    torch.testing.assert_close(kl, gk.categorical_kl(with_none[:, ::2], other[:, ::2]))
    entropy = gk.categorical_entropy(with_none)
    torch.testing.assert_close(entropy, gk.categorical_entropy(with_none[:, ::2]))
    grads = torch.autograd.grad(kl.sum() + entropy.sum(), (with_none, other))
    assert all((g[:, 1::2] == 0).all() and g.isfinite().all() for g in grads)


def test_mass_where_p_has_none_is_infinitely_far_with_the_gradient_of_what_is_finite(every_isa: Backend) -> None:
    logits_q = torch.tensor([[0.3, -0.2, 1.2]], requires_grad=True)
    logits_p = torch.tensor([[0.1, -INF, 0.5]], requires_grad=True)
    kl = gk.categorical_kl(logits_q, logits_p)
    assert kl.isposinf().all()
    grads = torch.autograd.grad(kl.sum(), (logits_q, logits_p))
    finite_q, finite_p = (t.detach().double().requires_grad_() for t in (logits_q, logits_p))
    log_q, log_p = finite_q.log_softmax(-1)[:, ::2], finite_p.log_softmax(-1)[:, ::2]
    expected = torch.autograd.grad((log_q.exp() * (log_q - log_p)).sum(), (finite_q, finite_p))
    for grad, wanted in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad.double(), wanted, rtol=1e-5, atol=1e-6)  # float32
    # With unimix no class is without mass.
    assert gk.categorical_kl(logits_q, logits_p, unimix=0.01).isfinite().all()


def test_masses_of_zero_are_left_out_and_infinities_stand_where_they_should(every_isa: Backend) -> None:
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]], requires_grad=True)
    q = torch.tensor([[0.25, 0.5, 0.25, 0.0], [0.5, 0.0, 0.5, 0.0]], requires_grad=True)
    kl = gk.discrete_kl(p, q)
    assert kl[0].item() == pytest.approx(0.5 * math.log(2), rel=1e-6)
    assert kl[1] == INF
    by_p, by_q = torch.autograd.grad(kl.sum(), (p, q))
    torch.testing.assert_close(by_p, torch.tensor([[math.log(2) + 1, 1.0, 0.0, 0.0], [1.0, INF, 0.0, 0.0]]))
    torch.testing.assert_close(by_q, torch.tensor([[-2.0, -1.0, 0.0, 0.0], [-1.0, -INF, 0.0, 0.0]]))
    entropy = gk.discrete_entropy(p)
    torch.testing.assert_close(entropy, torch.full((2,), math.log(2)))
    (grad,) = torch.autograd.grad(entropy.sum(), p)
    torch.testing.assert_close(grad, torch.tensor([[math.log(2) - 1] * 2 + [0.0, 0.0]] * 2))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_masses_may_be_tiny(every_isa: Backend, dtype: torch.dtype) -> None:
    least = torch.finfo(dtype).smallest_normal
    p, q = torch.tensor([[1.0, least]], dtype=dtype), torch.tensor([[least, 1.0]], dtype=dtype)
    result = gk.discrete_kl(p, q)
    expected = gk.discrete_kl(p.double(), q.double())
    assert_as_accurate("kl", result, expected, expected.to(result.dtype))
    assert gk.discrete_entropy(p).isfinite().all()


def test_nan_and_positive_infinity_propagate(every_isa: Backend) -> None:
    for bad in (math.nan, INF):
        logits = torch.tensor([[0.0, bad, 1.0], [0.0, 1.0, 2.0]])
        for value in (
            gk.categorical_entropy(logits),
            gk.categorical_kl(logits, torch.zeros(2, 3)),
            gk.categorical_kl(torch.zeros(2, 3), logits, unimix=0.1),
            gk.gumbel_softmax(logits).sum(-1),
            gk.gumbel_softmax(logits, hard=True).sum(-1),
            gk.gumbel_softmax(logits, tau=0).sum(-1),
        ):
            assert value.isnan().tolist() == [True, False]
    assert gk.discrete_entropy(torch.tensor([0.5, math.nan])).isnan()
    assert gk.discrete_entropy(torch.tensor([0.5, -0.5])).isnan()


def test_the_prior_may_broadcast_over_the_batch_and_receives_its_sum(backend: Backend) -> None:
    logits_q, logits_p = (normal(shape, i).requires_grad_() for i, shape in enumerate([(6, 4, 5), (4, 5)]))
    whole = logits_p.detach().expand(6, 4, 5).clone().requires_grad_()
    for options in ({}, {"unimix": 0.05}, {"dim": 1}):
        kl, expected = gk.categorical_kl(logits_q, logits_p, **options), gk.categorical_kl(logits_q, whole, **options)
        torch.testing.assert_close(kl, expected)
        (by_p,) = torch.autograd.grad(kl.sum(), logits_p)
        (by_whole,) = torch.autograd.grad(expected.sum(), whole)
        torch.testing.assert_close(by_p, by_whole.sum(0))


def test_one_forward_trains_posterior_and_prior_at_rates_of_their_own(backend: Backend) -> None:
    posterior, prior = (normal((3, 4, 8), i).requires_grad_() for i in (0, 1))
    options = {"unimix": 0.01, "free_bits": 0.5, "free_bits_over": "event"}
    balanced = gk.categorical_kl(posterior, prior, grad_scale_q=0.1, grad_scale_p=0.5, **options)
    # As DreamerV3 writes it: two divergences, each with one side held fixed.
    dynamics = gk.categorical_kl(posterior.detach(), prior, **options)
    representation = gk.categorical_kl(posterior, prior.detach(), **options)
    results = torch.autograd.grad(balanced.sum(), (posterior, prior))
    expected = torch.autograd.grad(0.5 * dynamics.sum() + 0.1 * representation.sum(), (posterior, prior))
    torch.testing.assert_close(balanced, dynamics)
    torch.testing.assert_close(results, expected)


@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_noise_follows_the_uniform_stream_in_logical_order(every_isa: Backend, dim: int) -> None:
    key = gk.random.key(9)
    for dtype in (torch.float32, torch.float64):
        logits = normal((5, 11, 13), 0, dtype)
        eps = gumbel(gk.random.uniform(key, (5, 11, 13), dtype=dtype, element_offset=3))
        result = gk.gumbel_softmax(logits, tau=0.7, dim=dim, key=key, element_offset=3)
        torch.testing.assert_close(result, gk.gumbel_softmax(logits, tau=0.7, dim=dim, eps=eps))
        turned = logits.permute(2, 0, 1).contiguous().permute(1, 2, 0)
        torch.testing.assert_close(gk.gumbel_softmax(turned, tau=0.7, dim=dim, key=key, element_offset=3), result)


def test_gumbel_noise_is_finite_at_both_ends_of_the_stream_and_has_its_distribution() -> None:
    for dtype, step in ((torch.float32, 2.0**-24), (torch.float64, 2.0**-53)):
        ends = gumbel(torch.tensor([0.0, 1 - step], dtype=dtype))
        assert ends.isfinite().all()
        assert ends[0] > ends[1]
    draws = gumbel(gk.random.uniform(gk.random.key(5), (1_000_000,)))
    assert stats.kstest(draws.double().numpy(), stats.gumbel_r.cdf).pvalue > 1e-3
    assert draws.mean().item() == pytest.approx(0.5772157, abs=5 * math.pi / math.sqrt(6e6))


@pytest.mark.parametrize("options", [{"tau": 0.3}, {"hard": True}, {"tau": 0}], ids=str)
def test_the_largest_class_of_a_sample_is_distributed_as_softmax(every_isa: Backend, options: dict) -> None:
    logits, n = torch.tensor([0.0, 1.0, -1.0, 2.0, -INF]), 200_000
    chosen = gk.gumbel_softmax(logits.expand(n, 5), key=gk.random.key(11), **options).argmax(-1)
    counts = torch.bincount(chosen, minlength=5)
    assert counts[-1] == 0
    expected = n * logits.softmax(-1)[:-1].double()
    assert stats.chisquare(counts[:-1].numpy(), expected.numpy(), sum_check=False).pvalue > 1e-3


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("tau", [0.0, 1e-45, 1e-8, 1.0, 1e8])
def test_samples_are_masses_at_every_temperature(every_isa: Backend, tau: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [-INF, 2.0, 2.0], [0.0, 0.0, 0.0]], dtype=dtype).requires_grad_()
    y = gk.gumbel_softmax(logits, tau=tau, key=gk.random.key(3))
    torch.testing.assert_close(y.float().sum(-1), torch.ones(3), rtol=2 * torch.finfo(dtype).eps, atol=0)
    (grad,) = torch.autograd.grad(y[:, 0].sum(), logits)
    assert grad.isfinite().all()
    if tau == 0:
        assert (grad == 0).all()
        assert torch.equal(y, torch.nn.functional.one_hot(y.argmax(-1), 3).to(dtype))


def test_equal_scores_at_temperature_zero_give_the_first(every_isa: Backend) -> None:
    y = gk.gumbel_softmax(torch.zeros(2, 5), tau=0, eps=torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0], [0.0] * 5]))
    assert y.tolist() == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


def test_hard_samples_are_one_hot_with_the_gradient_of_the_soft_ones(every_isa: Backend) -> None:
    logits = normal((50, 7), 0, torch.float32).requires_grad_()
    weights = normal((50, 7), 1, torch.float32)
    key = gk.random.key(2)
    soft, hard = (gk.gumbel_softmax(logits, tau=0.6, hard=h, key=key) for h in (False, True))
    assert torch.equal(hard, torch.nn.functional.one_hot(soft.argmax(-1), 7).float())
    results = [torch.autograd.grad((y * weights).sum(), logits)[0] for y in (hard, soft)]
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)  # the soft ones by the sample, the hard ones by scores


def test_a_list_of_generators_draws_row_by_row(backend: Backend) -> None:
    logits = normal((3, 4, 5), 0)
    rows = [gk.gumbel_softmax(logits[i], generator=torch.Generator().manual_seed(i)) for i in range(3)]
    result = gk.gumbel_softmax(logits, generator=[torch.Generator().manual_seed(i) for i in range(3)])
    torch.testing.assert_close(result, torch.stack(rows))


def test_wrong_arguments_are_named(backend: Backend) -> None:
    p = torch.full((2, 4), 0.25)
    calls = {
        r"dim: expected a dimension of p \(2, 4\), got 2": lambda: gk.discrete_entropy(p, dim=2),
        r"q: expected a shape that broadcasts with p": lambda: gk.discrete_kl(p, p[:, :3]),
        r"logits: expected at least 1 class along dimension -1": lambda: gk.categorical_entropy(torch.zeros(2, 0)),
        r"unimix: expected a number from 0 to 1, got 1.5": lambda: gk.categorical_kl(p, unimix=1.5),
        r"tau: expected a number >= 0, got -1": lambda: gk.gumbel_softmax(p, tau=-1.0),
        r"eps: expected shape \(2, 4\)": lambda: gk.gumbel_softmax(p, eps=p[:1]),
        r"event_ndim: expected at most 1": lambda: gk.categorical_kl(p, event_ndim=2),
        r"free_bits: expected a number >= 0": lambda: gk.categorical_kl(p, free_bits=-1.0),
    }
    for message, call in calls.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="p: expected a floating dtype"):
        gk.discrete_entropy(torch.ones(3, dtype=torch.int64))


def test_the_page_on_information_has_the_figures_that_come_out() -> None:
    page = Path(gk.__file__).parents[1] / "docs" / "information.py"
    run = subprocess.run([sys.executable, str(page), "--check"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr


def exact_divergence(
    logits_q: list[float], logits_p: list[float], unimix: float
) -> tuple[float, list[float], list[float]]:
    """KL(q || p) and its derivatives by q's and p's logits, by 60 digits."""
    with mpmath.workdps(60):
        keep, log_masses = 1 - mpmath.mpf(unimix), []
        for logits in (logits_q, logits_p):
            from_top = [mpmath.mpf(x) - max(logits) for x in logits]
            total = mpmath.log(sum(mpmath.exp(x) for x in from_top if x > -1e5))
            log_masses.append([x - total for x in from_top])
        softmax_q, softmax_p = ([mpmath.exp(x) if x > -1e5 else mpmath.mpf(0) for x in logs] for logs in log_masses)
        q, p = ([keep * m + (1 - keep) / len(masses) for m in masses] for masses in (softmax_q, softmax_p))
        if unimix:
            ratio = [mpmath.log(a / b) for a, b in zip(q, p, strict=True)]
            slope = [-a / b for a, b in zip(q, p, strict=True)]
        else:  # of masses that may be too small for numbers
            ratio = [a - b for a, b in zip(*log_masses, strict=True)]
            slope = []
        mean = mpmath.fdot(softmax_q, ratio)
        by_q = [keep * m * (r - mean) for m, r in zip(softmax_q, ratio, strict=True)]
        by_p = [b - a for a, b in zip(q, p, strict=True)]
        if unimix:
            by_p = [keep * m * (s - mpmath.fdot(softmax_p, slope)) for m, s in zip(softmax_p, slope, strict=True)]
        return float(mpmath.fdot(q, ratio)), [float(x) for x in by_q], [float(x) for x in by_p]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("unimix", [0.0, 0.1])
def test_divergence_of_logits_of_any_size(unimix: float, dtype: torch.dtype, every_isa: Backend) -> None:
    numbers = torch.Generator().manual_seed(3)
    for _ in range(60):
        exponents = 37 * torch.rand(2, 1, generator=numbers, dtype=torch.float64)
        logits = torch.randn(2, 5, generator=numbers, dtype=torch.float64) * 10 ** (exponents - 3)
        chosen = torch.randint(5, (2, 2), generator=numbers)
        for side in range(2):  # two classes that share the mass, and one more within reach
            logits[side, chosen[side, 0]] = logits[side].max()
            logits[side, chosen[side, 1]] = logits[side].max() - 1.5
        logits = logits.to(dtype)
        q, p = (row.clone().requires_grad_() for row in logits)
        value = gk.categorical_kl(q, p, unimix=unimix)
        grads = torch.autograd.grad(value, (q, p))
        exact, *slopes = exact_divergence(*logits.tolist(), unimix)
        rounding = 64 * torch.finfo(dtype).eps  # of five classes, each some ten operations
        torch.testing.assert_close(value.item(), exact, rtol=rounding, atol=rounding)
        for grad, slope in zip(grads, slopes, strict=True):
            right = torch.tensor(slope, dtype=torch.float64)
            largest = max(1.0, right.abs().max().item())  # masses, up to 1, and what they are multiplied by
            torch.testing.assert_close(grad.double(), right, rtol=rounding, atol=rounding * largest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("distance", [1.0, 0.3, 1e-2, 1e-4])
def test_a_mixed_divergence_of_near_logits_keeps_its_digits(
    distance: float, dtype: torch.dtype, every_isa: Backend
) -> None:
    numbers = torch.Generator().manual_seed(6)
    for unimix in (0.01, 0.5) * 10:
        logits = 2 * torch.randn(5, generator=numbers, dtype=torch.float64)
        q = logits.to(dtype).requires_grad_()
        p = (q.detach() + distance * torch.randn(5, generator=numbers, dtype=torch.float64)).to(dtype).requires_grad_()
        value = gk.categorical_kl(q, p, unimix=unimix)
        exact, *slopes = exact_divergence(q.tolist(), p.tolist(), unimix)
        eps = torch.finfo(dtype).eps
        # Five classes, each within a few ulp; the shift between the two normalisers adds as much.
        assert abs(value.item() - exact) <= 32 * eps * exact
        for grad, slope in zip(torch.autograd.grad(value, (q, p)), slopes, strict=True):
            right = torch.tensor(slope, dtype=torch.float64)
            assert (grad.double() - right).abs().max() <= 64 * eps * right.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_share_of_the_uniform_distribution_that_is_no_normal_number_is_none(
    dtype: torch.dtype, native: Backend
) -> None:
    q, p = (2 * normal((2, 5), seed).to(dtype) for seed in (0, 1))
    p[0, 0] = -INF
    unimix = torch.finfo(dtype).tiny
    assert torch.equal(gk.categorical_kl(q, p, unimix=unimix), gk.categorical_kl(q, p))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_logits_at_both_ends_of_the_range(dtype: torch.dtype, every_isa: Backend) -> None:
    most = torch.finfo(dtype).max
    one = torch.tensor([[most], [-most], [-most]], dtype=dtype)
    assert (gk.categorical_kl(one, one.flip(0)) == 0).all()  # a class alone is certain

    q = torch.zeros(2, dtype=dtype).requires_grad_()
    p = torch.tensor([most, -most], dtype=dtype).requires_grad_()
    (grad,) = torch.autograd.grad(gk.categorical_kl(q, p), p)
    assert grad.tolist() == [0.5, -0.5]  # however far from each other they are


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("unimix", [0.0, 0.1])
def test_the_gradient_of_a_nearly_certain_q_keeps_its_digits(
    unimix: float, dtype: torch.dtype, every_isa: Backend
) -> None:
    numbers = torch.Generator().manual_seed(4)
    # In the definition 1 is subtracted from 1 but for rounding, where the masses are mixtures.
    ulps = 512 if unimix and every_isa.mode == "reference" else 16
    for _ in range(40):
        logits = 3 * torch.randn(2, 5, generator=numbers, dtype=torch.float64)
        logits[0, 2] = logits[0].max() + 40 * torch.rand((), generator=numbers, dtype=torch.float64)
        q, p = (row.clone().requires_grad_() for row in logits.to(dtype))
        (grad,) = torch.autograd.grad(gk.categorical_kl(q, p, unimix=unimix), q)
        _, exact, _ = exact_divergence(q.tolist(), p.tolist(), unimix)
        right = torch.tensor(exact, dtype=torch.float64)
        # The other classes have their own terms, and the largest is less their sum.
        terms = q.detach().double().softmax(-1) * 100
        terms[2] = terms[[0, 1, 3, 4]].sum()
        assert ((grad.double() - right).abs() <= ulps * torch.finfo(dtype).eps * terms).all()


@pytest.mark.parametrize("unimix", [0.0, 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_nan_in_one_of_two_logits_is_in_the_gradients_of_both(
    dtype: torch.dtype, unimix: float, every_isa: Backend
) -> None:
    q = normal((2, 5), 0).to(dtype).requires_grad_()
    p = normal((2, 5), 1).to(dtype)
    p[0, 0] = torch.nan
    p.requires_grad_()
    kl = gk.categorical_kl(q, p, unimix=unimix)
    for grad in torch.autograd.grad(kl.sum(), (q, p)):
        assert grad[0].isnan().all() and grad[1].isfinite().all()
