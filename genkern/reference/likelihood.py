"""Likelihoods of data in plain torch, in the stable forms of docs/numerics.md."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference import scale as _scale
from genkern.reference.bins import edges, log, log1mexp, negligible
from genkern.reference.definition import Definition
from genkern.reference.gaussian import nll_result, standardised
from genkern.reference.options import CDFS, Bins, Loss, Sigma
from genkern.reference.reduce import reduce
from genkern.reference.scale import softplus

_SQRT_HALF = math.sqrt(0.5)
_INVERSE_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
# The cdf of guided-diffusion, 1/2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))), is sigmoid of this polynomial, doubled.
_TANH_SLOPE = 2 * math.sqrt(2 / math.pi)
_TANH_CUBE = 0.044715


@Definition
def bernoulli_nll(x: Tensor, logits: Tensor, label_smoothing: float, loss: Loss) -> Iterator[Any]:
    """softplus(l) - x' l with x' = x (1 - s) + s / 2, as |l| w + log1p(exp(-|l|)): no difference of large numbers."""
    _checks.tensors(x=x, logits=logits)
    _checks.fraction("label_smoothing", label_smoothing)
    nll = loss.result(_checks.broadcast(x=x, logits=logits), x, logits)
    yield nll
    x, logits = x.to(nll.dtype), logits.to(nll.dtype)
    positive = logits >= 0
    weight = torch.where(positive, 1 - x, x)  # of the less likely outcome
    if label_smoothing:
        weight = weight * (1 - label_smoothing) + 0.5 * label_smoothing
    magnitude = torch.where(positive, logits, -logits)
    certain = magnitude.isinf() & (weight == 0)
    magnitude_or_nothing = torch.where(certain, torch.zeros_like(magnitude), magnitude)
    elements = magnitude_or_nothing * weight + torch.log1p(torch.exp(-magnitude))
    yield reduce(elements, loss)


@Definition
def laplace_nll(
    x: Tensor, loc: Tensor, scale: Tensor | None, scale_value: float, full: bool, sigma: Sigma, loss: Loss
) -> Iterator[Any]:
    """|x - loc| / b + log b + log 2, the last term if `full`; b is what the scale stands for, in the place of sigma."""
    nll = nll_result(x, loc, scale, scale_value, full, sigma, loss)
    yield nll
    raw = _scale.clamp(_scale.raw(x, scale, scale_value, nll.dtype), sigma)
    delta = standardised(x.to(nll.dtype) - loc.to(nll.dtype), raw, sigma)
    # As a product, the gradient is the sign: 0 at 0, nan for nan, which torch's gradient of abs is not everywhere.
    sign = torch.where(delta > 0, 1.0, torch.where(delta < 0, -1.0, 0.0 * delta)).detach()
    elements = delta * sign + 0.5 * _scale.logvar(raw, sigma)
    if full:
        elements = elements + math.log(2.0)
    yield reduce(elements.expand(nll.elements), loss)


@Definition
def discretized_gaussian_nll(
    x: Tensor,
    loc: Tensor,
    scale: Tensor | None,
    scale_value: float,
    grey: Bins,
    cdf: str,
    sigma: Sigma,
    loss: Loss,
) -> Iterator[Any]:
    """-log of the mass that a Gaussian has in the bin around x; the outermost bins reach to infinity."""
    grey.check()
    _checks.choice("cdf", cdf, CDFS)
    nll = nll_result(x, loc, scale, scale_value, True, sigma, loss)
    yield nll
    shape, dtype = nll.elements, nll.dtype
    raw = _scale.clamp(_scale.raw(x, scale, scale_value, dtype), sigma)
    half, below, above = edges(grey)

    # On the side where the density falls: the mirrored bin has the same mass. In a tail that is away from the centre.
    x, delta = torch.broadcast_tensors(x.to(dtype), x.to(dtype) - loc.to(dtype))
    tail = (x < below) | (x > above)
    mirrored = (x < below) | (~tail & (delta < 0))
    distance = torch.where(mirrored, -delta, delta)
    half = _scale.constant(half, dtype)

    def in_sigmas(raw: Tensor, *distances: Tensor) -> list[Tensor]:
        return [standardised(each, raw, sigma).expand(shape) for each in distances]

    with torch.no_grad():
        a, b = in_sigmas(raw, distance - half, distance + half)
        certain = (a < -1e4) & ((b > 1e4) | tail)
    # Nothing is outside of such a bin, and its scale may be so small that derivatives by it are infinite.
    distance, raw = torch.where(certain, 0.0, distance), torch.where(certain, 1.0, raw)
    a, b, u, w = in_sigmas(raw, distance - half, distance + half, distance, torch.full_like(distance, half))
    log_w = log(half) - 0.5 * _scale.logvar(raw, sigma)
    mass = _exact_nll if cdf == "exact" else _tanh_nll
    elements = torch.where(certain, 0.0, mass(a, b, u, w, log_w, tail.expand(shape)))
    yield reduce(elements, loss)


def _exact_nll(a: Tensor, b: Tensor, u: Tensor, w: Tensor, log_w: Tensor, tail: Tensor) -> Tensor:
    """-log of the mass of [a, b] = [u - w, u + w], or [a, infinity); u, w and b + a are not negative but in a tail.

    Three forms, none of which subtracts nearly equal numbers; each sees only its own elements, or harmless ones.
    """
    narrow = (w <= 0.5) & (u * w <= 0.5) & ~tail
    inside = ~narrow & (a < 0)

    # A narrow bin: the density at its centre times 2 w times the mean of exp(-u t - t^2 / 2) over |t| < w, which may be
    # too narrow to be a number, while its logarithm is one.
    u1, w1 = torch.where(narrow, u, torch.zeros_like(u)), torch.where(narrow, w, torch.full_like(w, 0.25))
    mean = mean_over_bin(u1 * w1, w1 * w1, 10 if u.dtype == torch.float64 else 5)
    within_narrow = 0.5 * u1 * u1 - torch.log(2 * _INVERSE_SQRT_2PI * mean) - log_w

    # A bin about the mean: what is outside of it. (The mass beyond b of one that is a tail is 0.)
    a2, b2 = torch.where(inside, a, -torch.ones_like(a)), torch.where(inside & ~tail, b, torch.ones_like(b))
    beyond_b = torch.where(tail, torch.zeros_like(b), 0.5 * torch.erfc(b2 * _SQRT_HALF))
    within_inside = -torch.log1p(-(0.5 * torch.erfc(-a2 * _SQRT_HALF) + beyond_b))

    # A bin to one side: the mass beyond a less that beyond b, both times exp(a^2 / 2).
    outside = ~(narrow | inside)
    a3 = torch.where(outside, a, torch.ones_like(a))
    b3 = torch.where(outside & ~tail, b, torch.full_like(b, 3.0))
    y = torch.where(outside & ~tail, u * w, torch.full_like(u, 2.0))
    beyond_b = torch.where(tail, torch.zeros_like(b), _scaled_tail(b3) * torch.exp(-2 * y))
    within_outside = 0.5 * a3 * a3 - torch.log(_scaled_tail(a3) - beyond_b)
    return torch.where(narrow, within_narrow, torch.where(inside, within_inside, within_outside))


def mean_over_bin(y: Tensor, w2: Tensor, terms: int) -> Tensor:
    """The mean of exp(-u t - t^2 / 2) over |t| < w, from y = u w and w^2: the sum of He_2m(u) w^2m / (2m + 1)!."""
    before, term = torch.zeros_like(y), torch.ones_like(y)
    total, factorial = term, 1.0
    for n in range(0, 2 * terms, 2):
        before, term = term, (y * y - (2 * n + 1) * w2) * term - n * (n - 1) * w2 * w2 * before
        factorial *= (n + 2) * (n + 3)
        total = total + term / factorial
    return total


def _scaled_tail(t: Tensor) -> Tensor:
    """exp(t^2 / 2) times the mass of N(0, 1) beyond t."""
    return 0.5 * torch.special.erfcx(t * _SQRT_HALF)


def _tanh_nll(a: Tensor, b: Tensor, u: Tensor, w: Tensor, log_w: Tensor, tail: Tensor) -> Tensor:
    """The same by sigmoids: the approximate cdf is sigmoid(g), and g(b) - g(a) takes no difference."""
    far = _scale.squarable(w.dtype)
    u, w = (torch.where(t.abs() > far, far, t) for t in (u, w))
    per_w = 2 * _TANH_SLOPE * (1 + _TANH_CUBE * (3 * u * u + w * w))
    gap = torch.where(tail, torch.ones_like(w), per_w * w)
    gap = torch.where(gap > 1e4, 1e4, gap)
    point = gap < negligible(w.dtype)
    log_gap = torch.where(point, log_w + torch.log(per_w), log1mexp(torch.where(point, 1.0, gap)))
    at_b = torch.where(tail, torch.zeros_like(b), b)
    interior = softplus(-_tanh_logit(at_b)) - log_gap
    return softplus(_tanh_logit(a)) + torch.where(tail, torch.zeros_like(a), interior)


def _tanh_logit(z: Tensor) -> Tensor:
    beyond = z.abs() > (1e102 if z.dtype == torch.float64 else 1.68e13)  # there the cube is no number
    inner = torch.where(beyond, 0.0, z)
    return torch.where(beyond, torch.sign(z) * torch.inf, _TANH_SLOPE * inner * (1 + _TANH_CUBE * inner * inner))
