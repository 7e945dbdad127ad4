"""Every likelihood over the whole range of each argument: a number wherever the truth is one, and the right one.

The truth is mpmath's, gradients too. A result may be off as if its arguments had been a few ulp off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from mpmath import mp, mpf
from support.backends import Backend
from torch import Tensor

import genkern as gk

ULPS = 64  # of the result, and an eighth as many of each argument
STEP = mpf(10) ** -80  # of the central differences, relative to the argument
DIGITS = {torch.float32: 250, torch.float64: 550}  # for differences of the smallest numbers, and some to spare
POSITIVE = ("std", "var")
HALF = mpf(1) / 255
EDGE = 1 - mpf("0.001")


def log_tail(t: mpf) -> mpf:
    """log of the mass of N(0, 1) beyond t."""
    if t < 1e6:
        return mp.log(mp.erfc(t / mp.sqrt(2)) / 2)
    series, term = mpf(1), mpf(1)
    for k in range(1, 9):
        term *= -(2 * k - 1) / t**2
        series += term
    return -t * t / 2 - mp.log(t * mp.sqrt(2 * mp.pi)) + mp.log(series)


def softplus(x: mpf) -> mpf:
    if abs(x) > 1e6:
        return max(x, mpf(0))
    return mp.log1p(mp.exp(x))


def power(exponent: mpf) -> mpf:
    """exp, or 0 where mpmath would count as many bits as the exponent has units."""
    return mpf(0) if exponent < -1e6 else mp.exp(exponent)


def log1mexp(x: mpf) -> mpf:
    """log(1 - exp(-x)), likewise."""
    return mpf(0) if x > 1e6 else mp.log(-mp.expm1(-x))


def sigma_and_logvar(scale: mpf, scale_param: str, scale_offset: float = 0.0) -> tuple[mpf, mpf]:
    if scale_param in ("logvar", "logstd"):
        logvar = scale * (1 if scale_param == "logvar" else 2)
        if scale_offset == 0 or logvar > 1e6:
            return mp.exp(logvar / 2), logvar
        sigma = power(logvar / 2) + scale_offset
        return sigma, 2 * mp.log(sigma)
    sigma = {"std": lambda: scale, "var": lambda: mp.sqrt(scale), "softplus": lambda: mp.log1p(mp.exp(scale))}
    value = sigma[scale_param]() if scale_param != "softplus" or scale < 1e3 else scale
    return value, 2 * mp.log(value)


def gaussian(x: mpf, loc: mpf, scale: mpf, scale_param: str = "logvar", scale_offset: float = 0.0) -> mpf:
    sigma, logvar = sigma_and_logvar(scale, scale_param, scale_offset)
    return (((x - loc) / sigma) ** 2 + logvar + mp.log(2 * mp.pi)) / 2


def laplace(x: mpf, loc: mpf, scale: mpf, scale_param: str = "logvar") -> mpf:
    sigma, logvar = sigma_and_logvar(scale, scale_param)
    return abs(x - loc) / sigma + logvar / 2 + mp.log(2)


def bernoulli(x: mpf, logits: mpf) -> mpf:
    return softplus(logits) - x * logits


def bin_ends(x: mpf, loc: mpf, sigma: mpf) -> tuple[mpf, mpf]:
    lower, upper = (x - loc - HALF) / sigma, (x - loc + HALF) / sigma
    return (-mp.inf if x < -EDGE else lower), (mp.inf if x > EDGE else upper)


def discretized(x: mpf, loc: mpf, scale: mpf, scale_param: str = "logvar") -> mpf:
    a, b = bin_ends(x, loc, sigma_and_logvar(scale, scale_param)[0])
    if a + b < 0:
        a, b = -b, -a
    beyond_b = -mp.inf if b == mp.inf else log_tail(b)
    if b - a < mpf(10) ** -60:  # the density is enough, as the next term is the square of that
        return ((a + b) ** 2 / 4 + mp.log(2 * mp.pi)) / 2 - mp.log(b - a)
    if a < 0:
        return -mp.log(1 - power(log_tail(-a)) - power(beyond_b)) if b - a > 1e-3 else -mp.log(mp.ncdf(b) - mp.ncdf(a))
    return -(log_tail(a) + log1mexp(log_tail(a) - beyond_b))


def log_difference_of_sigmoids(below: mpf, above: mpf) -> mpf:
    if below == -mp.inf:
        return -softplus(-above)
    if above == mp.inf:
        return -softplus(below)
    return -softplus(-above) - softplus(below) + log1mexp(above - below)


def discretized_tanh(x: mpf, loc: mpf, scale: mpf) -> mpf:
    def logit(z: mpf) -> mpf:
        return z if mp.isinf(z) else 2 * mp.sqrt(2 / mp.pi) * (z + mpf(0.044715) * z**3)

    a, b = bin_ends(x, loc, sigma_and_logvar(scale, "logvar")[0])
    return -log_difference_of_sigmoids(logit(a), logit(b))


def logistic_mixture(x: mpf, first: mpf, second: mpf, mean: mpf, other: mpf, log_scale: mpf, wide: mpf) -> mpf:
    """Two components, of logits `first` and `second`, means `mean` and `other`, log-scales `log_scale` and `wide`."""
    terms = []
    for logit, centre, raw in ((first, mean, log_scale), (second, other, wide)):
        a, b = bin_ends(x, centre, mp.exp(max(raw, mpf(-7))))
        terms.append((logit, log_difference_of_sigmoids(a, b)))

    def total(values: list[mpf]) -> mpf:
        top = max(values)
        return top + mp.log(sum(power(v - top) for v in values))

    return total([logit for logit, _ in terms]) - total([logit + mass for logit, mass in terms])


def call_logistic_mixture(x: Tensor, **parameters: Tensor) -> Tensor:
    params = torch.stack(list(parameters.values()), -1)
    return gk.discretized_logistic_mixture_nll(
        x.unsqueeze(-1), params, mixtures=2, channel_dim=-1, rgb_coupling=False, reduction="none"
    )


def no_terms(name: str, at: Mapping[str, float]) -> mpf:
    return mpf(0)


def terms_of_tanh(name: str, at: Mapping[str, float]) -> mpf:
    """The density at either end of a bin, over its mass: in units of sigma, of the size of 1."""
    return mpf(1) if name == "scale" else 1 / sigma_and_logvar(mpf(at["scale"]), "logvar")[0]


def terms_of_logistic_mixture(name: str, at: Mapping[str, float]) -> mpf:
    """Weights and posteriors, up to 1, and slopes of the two sides of a bin, as many times the inverse scale."""
    by_scale = {n: 1 / mp.exp(max(mpf(at[n]), mpf(-7))) for n in ("log_scale", "wide")}
    return {"mean": by_scale["log_scale"], "other": by_scale["wide"], "x": sum(by_scale.values())}.get(name, mpf(1))


@dataclass(frozen=True)
class Likelihood:
    """`call` of tensors, `truth` of numbers, `points`: the values that arguments have while another is swept."""

    name: str
    call: Callable[..., Tensor]
    truth: Callable[..., mpf]
    points: tuple[Mapping[str, float], ...]
    swept: Mapping[str, str] = field(default_factory=dict)  # what an argument's values are bound to: "unit", "positive"
    # How large the terms are whose difference the gradient by an argument is, where there are several.
    terms: Callable[[str, Mapping[str, float]], mpf] = no_terms

    def __str__(self) -> str:
        return self.name


def with_scale(name: str, call: Callable[..., Tensor], truth: Callable[..., mpf], **options: Any) -> list[Likelihood]:
    made = []
    for scale_param in options.pop("scale_params", ("logvar", "logstd", "std", "var", "softplus")):
        points = [{"x": 0.25, "loc": 0.125, "scale": 0.5}, {"x": 0.25, "loc": 0.25, "scale": 0.5}]
        given = {"scale_param": scale_param, **options}
        made.append(
            Likelihood(
                f"{name}-{scale_param}{''.join(f'-{v}' for v in options.values())}",
                lambda given=given, **tensors: call(**tensors, reduction="none", **given),
                (lambda param=scale_param, **values: truth(**values, scale_param=param)) if not options else truth,
                tuple(points),
                {"scale": "positive"} if scale_param in POSITIVE else {},
                terms_of_tanh if options else no_terms,
            )
        )
    return made


def with_offset(scale_param: str) -> Likelihood:
    options = {"scale_param": scale_param, "scale_offset": 0.25}
    return Likelihood(
        f"gaussian_nll-{scale_param}-offset",
        lambda **tensors: gk.gaussian_nll(**tensors, reduction="none", **options),
        lambda **values: gaussian(**values, **options),
        ({"x": 0.25, "loc": 0.125, "scale": 0.5}, {"x": 0.25, "loc": 0.25, "scale": 0.5}),
    )


LIKELIHOODS = [
    *with_scale("gaussian_nll", gk.gaussian_nll, gaussian),
    with_offset("logvar"),
    with_offset("logstd"),
    *with_scale("laplace_nll", gk.laplace_nll, laplace),
    *with_scale("discretized_gaussian_nll", gk.discretized_gaussian_nll, discretized),
    *with_scale(
        "discretized_gaussian_nll", gk.discretized_gaussian_nll, discretized_tanh, cdf="tanh", scale_params=("logvar",)
    ),
    Likelihood(
        "bernoulli_nll",
        lambda **tensors: gk.bernoulli_nll(**tensors, reduction="none"),
        bernoulli,
        ({"x": 0.25, "logits": 1.5}, {"x": 1.0, "logits": 1.5}, {"x": 0.0, "logits": 1.5}),
        {"x": "unit"},
    ),
    Likelihood(
        "discretized_logistic_mixture_nll",
        call_logistic_mixture,
        logistic_mixture,
        (
            {"x": 0.25, "first": 0.5, "second": -0.25, "mean": 0.125, "other": 0.5, "log_scale": -1.0, "wide": -2.0},
            {"x": -1.0, "first": 0.5, "second": -0.25, "mean": 0.125, "other": 0.5, "log_scale": -1.0, "wide": -2.0},
        ),
        terms=terms_of_logistic_mixture,
    ),
]
MAGNITUDES = {
    torch.float32: (
        *(1e-45, 1e-38, 1e-20, 1e-6, 0.1, 1.0, 9.0, 40.0, 88.0, 120.0, 177.0, 210.0),
        *(1e3, 1e5, 1e10, 1e19, 1e30, 1.5e38),
    ),
    torch.float64: (5e-324, 1e-100, 0.1, 30.0, 177.0, 740.0, 1400.0, 1500.0, 1e10, 1e50, 1e153, 1e300),
}


def values_of(likelihood: Likelihood, name: str, dtype: torch.dtype) -> list[float]:
    magnitudes = torch.tensor(MAGNITUDES[dtype], dtype=dtype).tolist()
    bound = likelihood.swept.get(name)
    if bound == "unit":
        return [0.0, *(m for m in magnitudes if m <= 1)]
    return magnitudes if bound == "positive" else [0.0, *magnitudes, *(-m for m in magnitudes)]


def slack(function: Callable[..., mpf], at: Mapping[str, float], exact: mpf, eps: float) -> mpf:
    """How much the function moves where each argument moves by ULPS / 8 of its own."""
    total = mpf(0)
    for name in at:
        moved = function(**{n: mpf(v) * (1 + mpf(eps) * ULPS / 8 if n == name else 1) for n, v in at.items()})
        total += abs(moved - exact)
    return total


def derivative(function: Callable[..., mpf], name: str) -> Callable[..., mpf]:
    def of(**at: mpf) -> mpf:
        h = STEP * (abs(at[name]) or 1)
        return (function(**{**at, name: at[name] + h}) - function(**{**at, name: at[name] - h})) / (2 * h)

    return of


CALLS = [(likelihood, name) for likelihood in LIKELIHOODS for name in likelihood.points[0]]


@pytest.mark.parametrize("dtype", list(MAGNITUDES), ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize(("likelihood", "name"), CALLS, ids=[f"{likelihood}-{name}" for likelihood, name in CALLS])
def test_a_result_is_a_number_wherever_the_truth_is_one(
    likelihood: Likelihood, name: str, dtype: torch.dtype, every_isa: Backend
) -> None:
    exact_gradients = every_isa.mode == "native"  # the definition adds up parts that nearly cancel
    swept = values_of(likelihood, name, dtype)
    for point in likelihood.points:
        places = [{**point, name: value} for value in swept]
        tensors = {n: torch.tensor([at[n] for at in places], dtype=dtype, requires_grad=True) for n in point}
        values = likelihood.call(**tensors)
        values.sum().backward()
        for i, at in enumerate(places):
            grads = {n: t.grad[i].item() for n, t in tensors.items()}
            check(likelihood, at, values[i].item(), grads, dtype, exact_gradients)


_truths: dict[Any, mpf] = {}  # the same for every backend


def check(
    likelihood: Likelihood,
    at: Mapping[str, float],
    value: float,
    grads: Mapping[str, float],
    dtype: torch.dtype,
    exact_gradients: bool = True,
) -> None:
    info = torch.finfo(dtype)
    for what, result in (("value", value), *grads.items()):
        function = likelihood.truth if what == "value" else derivative(likelihood.truth, what)
        key = (likelihood.name, what, dtype, *at.items())
        with mp.workdps(DIGITS[dtype]):
            if key not in _truths:
                _truths[key] = function(**{n: mpf(v) for n, v in at.items()})
            exact = _truths[key]
            told = f"{what} at {at}: {result}, but the truth is {mp.nstr(exact, 12)}"
            if abs(exact) > info.max:
                if what == "value":
                    assert abs(result) == float("inf"), told
                    return  # gradients are promised where the value is a number
                continue
            if what != "value" and not exact_gradients:
                assert abs(result) < float("inf"), told
                continue
            error = abs(mpf(result) - exact)
            size = max(abs(exact), likelihood.terms(what, at) if what != "value" else mpf(0))
            bound = ULPS * info.eps * size + info.smallest_normal
            assert error <= bound or error <= bound + slack(function, at, exact, info.eps), told
