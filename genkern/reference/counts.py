"""Likelihoods of counts in plain torch.

Sources: Loader 2000, "Fast and accurate computation of binomial probabilities" (the negative binomial's form, as R's
dnbinom has it).
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genkern import _checks
from genkern.reference.definition import Definition
from genkern.reference.options import Loss
from genkern.reference.reduce import reduce

RATE_PARAMS = ("rate", "log")
MEAN_PARAMS = ("mean", "log", "logits")
DISPERSION_PARAMS = ("value", "log")


@Definition
def poisson_nll(x: Tensor, rate: Tensor, rate_param: str, full: bool, loss: Loss) -> Iterator[Any]:
    """rate - x log rate + log Gamma(x + 1), the last term if `full`; a rate of 0 gives 0 where x is 0, too."""
    _checks.counts("x", x)
    _checks.tensor("rate", rate)
    _checks.same_device(x=x, rate=rate)
    _checks.choice("rate_param", rate_param, RATE_PARAMS)
    nll = loss.result(_checks.broadcast(x=x, rate=rate), x, rate)
    yield nll
    x, rate = x.to(nll.dtype), rate.to(nll.dtype)
    x = x + torch.where(x <= -1, math.nan, 0.0)
    zero, one = (-math.inf, 0.0) if rate_param == "log" else (0.0, 1.0)
    certain = (x == 0) & (rate == zero)
    hidden = torch.where(certain, one, rate)
    elements = rate.exp() - x * hidden if rate_param == "log" else rate - x * hidden.log()
    yield reduce(elements + torch.lgamma(x + 1) if full else elements, loss)


@Definition
def negative_binomial_nll(
    x: Tensor, mean: Tensor, inverse_dispersion: Tensor, mean_param: str, dispersion_param: str, loss: Loss
) -> Iterator[Any]:
    """-log of Gamma(x + t) / (Gamma(t) x!) p^t q^x with p = t / (t + m), q = m / (t + m)."""
    tensors = {"mean": mean, "inverse_dispersion": inverse_dispersion}
    nll = _checked(x, tensors, mean_param, dispersion_param, loss)
    yield nll
    x, mean, inverse_dispersion = (t.to(nll.dtype) for t in (x, mean, inverse_dispersion))
    yield reduce(_negative_binomial(x, parameters_of(mean, inverse_dispersion, mean_param, dispersion_param)), loss)


@Definition
def zero_inflated_negative_binomial_nll(
    x: Tensor,
    mean: Tensor,
    inverse_dispersion: Tensor,
    dropout_logits: Tensor,
    mean_param: str,
    dispersion_param: str,
    loss: Loss,
) -> Iterator[Any]:
    """The same but for zeros, which come with the probability s = sigmoid(dropout_logits) whatever the rest says."""
    tensors = {"mean": mean, "inverse_dispersion": inverse_dispersion, "dropout_logits": dropout_logits}
    nll = _checked(x, tensors, mean_param, dispersion_param, loss)
    yield nll
    x, mean, inverse_dispersion, logits = (t.to(nll.dtype) for t in (x, mean, inverse_dispersion, dropout_logits))
    parameters = parameters_of(mean, inverse_dispersion, mean_param, dispersion_param)
    zero = x == 0
    rest = _negative_binomial(torch.where(zero, 1.0, x), parameters)
    # -log of s + (1 - s) exp(-b) = 1 - (1 - s) (1 - exp(-b)): of whichever is accurate.
    b = _infinite(parameters, _at_zero(parameters))
    missing = torch.sigmoid(-logits) * -torch.expm1(-b)
    near = missing < 0.5
    far = softplus(logits) - torch.logaddexp(logits, -b)
    at_zero = torch.where(near, -torch.log1p(-torch.where(near, missing, 0.0)), far)
    yield reduce(torch.where(zero, at_zero, rest + softplus(logits)), loss)


class Parameters(NamedTuple):
    mean: Tensor
    theta: Tensor
    over: Tensor  # 1 / theta
    ratio: Tensor  # mean / theta
    p: Tensor  # theta / (theta + mean)
    infinite: Tensor  # whether the mean is, and every count infinitely unlikely


def _checked(x: Tensor, tensors: dict[str, Tensor], mean_param: str, dispersion_param: str, loss: Loss) -> Any:
    _checks.counts("x", x)
    _checks.tensors(**tensors)
    _checks.same_device(x=x, **tensors)
    check_params(mean_param, dispersion_param)
    return loss.result(_checks.broadcast(x=x, **tensors), x, *tensors.values())


def check_params(mean_param: str, dispersion_param: str) -> None:
    _checks.choice("mean_param", mean_param, MEAN_PARAMS)
    _checks.choice("dispersion_param", dispersion_param, DISPERSION_PARAMS)


def parameters_of(mean: Tensor, inverse_dispersion: Tensor, mean_param: str, dispersion_param: str) -> Parameters:
    most_theta, most = (1e150, 1e300) if mean.dtype == torch.float64 else (1e30, 1e37)
    if dispersion_param == "log":
        theta = inverse_dispersion.exp()
    else:
        theta = inverse_dispersion + torch.where(inverse_dispersion > 0, 0.0, math.nan)
    theta = _at_most(theta, most_theta)
    over = 1 / theta
    value = mean + torch.where(mean < 0, math.nan, 0.0) if mean_param == "mean" else mean.exp()
    infinite = value == math.inf
    ratio = _at_most(value if mean_param == "logits" else value * over, most)
    value = _at_most(ratio * theta if mean_param == "logits" else value, most)
    return Parameters(value, theta, over, ratio, 1 / (1 + ratio), infinite)


def _at_most(x: Tensor, most: float) -> Tensor:
    """torch.clamp has no gradient for nan."""
    return torch.where(x > most, most, x)


def _infinite(t: Parameters, elements: Tensor) -> Tensor:
    return torch.where(t.infinite & ~elements.isnan(), math.inf, elements)


def _at_zero(t: Parameters) -> Tensor:
    """theta log(1 + mean / theta), in two parts whose derivatives do not cancel."""
    below = t.p * t.mean
    return lack_of_log(t.theta, -below, -t.ratio * t.p, t.p, -torch.log1p(t.ratio)) + below


def _negative_binomial(x: Tensor, t: Parameters) -> Tensor:
    """Without cancellation, and so that no gradient of it cancels either: see docs/numerics.md."""
    x = x + torch.where(x <= -1, math.nan, 0.0)
    low = x < 1
    above, below = torch.where(low, 1.0, x), torch.where(low, x, 0.0)
    log_p, log_n = -torch.log1p(t.ratio), torch.log1p(above * t.over)
    one_and_v = (1 + above * t.over) * t.p
    excess = t.p * (t.mean - above)
    of_theta = lack_of_log(t.theta, -excess, -excess * t.over, one_and_v, log_n + log_p)
    log_y = log_n + log_p + torch.log(t.mean) - torch.log(above)
    of_x = lack_of_log(above, excess, excess / above, one_and_v * t.mean / above, log_y)
    size = 0.5 * torch.log(2 * math.pi * above) + 0.5 * log_n + stirling_error(above)
    n = t.theta + x
    rate = (1 + below * t.over) * t.p * t.mean
    rate = torch.where((below == 0) & (rate == 0), 1.0, rate)
    beyond = torch.lgamma(below + 1) - below * rate.log() - (t.theta - 0.5) * torch.log1p(below * t.over) + below
    errors = stirling_error(t.theta) - stirling_error(n)
    elements = torch.where(low, _at_zero(t) + beyond, of_theta + of_x + size) + errors
    return _infinite(t, elements)


def lack_of_log(scale: Tensor, product: Tensor, v: Tensor, one_and_v: Tensor, log: Tensor) -> Tensor:
    """scale (v - log(1 + v)), never negative; product is scale v. Near 0 by 2 artanh(w), w = v / (2 + v)."""
    w = v / (1 + one_and_v)
    near = w * w < (0.01 if v.dtype == torch.float64 else 0.2)
    w, v = torch.where(near, w, 0.0), torch.where(near, v, 0.0)
    square, series = w * w, torch.zeros_like(w)
    for k in range(17, 1, -2):
        series = series * square + 1 / k
    return torch.where(near, scale * (w * (v - 2 * square * series)), product - scale * log)


def stirling_error(z: Tensor) -> Tensor:
    """What log Gamma(z + 1) has besides (z + 1/2) log z - z + log(2 pi) / 2."""
    large = z > (10 if z.dtype == torch.float64 else 3)
    inverse = 1 / torch.where(large, z, 10.0)
    square = inverse * inverse
    series = torch.zeros_like(square)
    for c in (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12):
        series = series * square + c
    small = torch.where(large, 1.0, z)
    direct = torch.lgamma(small + 1) - (small + 0.5) * small.log() + small - 0.5 * math.log(2 * math.pi)
    return torch.where(large, series * inverse, direct)
