"""Likelihoods of data in plain torch, in the stable forms of docs/numerics.md."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference import scale as _scale
from genkern.reference.bins import edges, log, log1mexp, negligible
from genkern.reference.gaussian import check_nll, standardised
from genkern.reference.reduce import reduce
from genkern.reference.scale import softplus

CDFS = ("exact", "tanh")
_SQRT_HALF = math.sqrt(0.5)
_INVERSE_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
# The cdf of guided-diffusion, 1/2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))), is sigmoid of this polynomial, doubled.
_TANH_SLOPE = 2 * math.sqrt(2 / math.pi)
_TANH_CUBE = 0.044715


def bernoulli_nll(
    x: Tensor,
    logits: Tensor,
    *,
    label_smoothing: float = 0.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """softplus(l) - x' l with x' = x (1 - s) + s / 2, as |l| w + log1p(exp(-|l|)): no difference of large numbers."""
    check_bernoulli(x, logits, label_smoothing)
    shape = _checks.broadcast(x=x, logits=logits)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(x, logits)
    x, logits = x.to(dtype), logits.to(dtype)
    positive = logits >= 0
    weight = torch.where(positive, 1 - x, x)  # of the less likely outcome
    if label_smoothing:
        weight = weight * (1 - label_smoothing) + 0.5 * label_smoothing
    magnitude = torch.where(positive, logits, -logits)
    certain = magnitude.isinf() & (weight == 0)
    magnitude_or_nothing = torch.where(certain, torch.zeros_like(magnitude), magnitude)
    elements = magnitude_or_nothing * weight + torch.log1p(torch.exp(-magnitude))
    return reduce(elements, reduction, units, event_ndim)


def check_bernoulli(x: object, logits: object, label_smoothing: object) -> None:
    _checks.tensor("x", x)
    _checks.tensor("logits", logits)
    _checks.fraction("label_smoothing", label_smoothing)
    _checks.same_device(x=x, logits=logits)  # type: ignore[arg-type]


def laplace_nll(
    x: Tensor,
    loc: Tensor,
    scale: Tensor | None,
    scale_value: float = 0.0,
    *,
    full: bool = True,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """|x - loc| / b + log b + log 2, the last term if `full`; b is what the scale stands for, in the place of sigma."""
    check_nll(x, loc, scale, scale_value, full)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    shape = _checks.broadcast(x=x, loc=loc, scale=scale)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(x, loc, scale)
    raw = _scale.raw(x, scale, scale_value, dtype)
    raw = _scale.clamp(raw, clamp_lo, clamp_hi, clamp_mode)
    delta = standardised(x.to(dtype) - loc.to(dtype), raw, scale_param, scale_offset)
    # As a product, the gradient is the sign: 0 at 0, nan for nan, which torch's gradient of abs is not everywhere.
    sign = torch.where(delta > 0, 1.0, torch.where(delta < 0, -1.0, 0.0 * delta)).detach()
    elements = delta * sign + 0.5 * _scale.logvar(raw, scale_param, scale_offset)
    if full:
        elements = elements + math.log(2.0)
    return reduce(elements.expand(shape), reduction, units, event_ndim)


def discretized_gaussian_nll(
    x: Tensor,
    loc: Tensor,
    scale: Tensor | None,
    scale_value: float = 0.0,
    *,
    bins: int = 256,
    low: float = -1.0,
    high: float = 1.0,
    cdf: str = "exact",
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """-log of the mass that a Gaussian has in the bin around x; the outermost bins reach to infinity."""
    check_discretized(x, loc, scale, scale_value, bins, low, high, cdf)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    shape = _checks.broadcast(x=x, loc=loc, scale=scale)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(x, loc, scale)
    raw = _scale.raw(x, scale, scale_value, dtype)
    raw = _scale.clamp(raw, clamp_lo, clamp_hi, clamp_mode)
    half, below, above = edges(bins, low, high)

    # On the side where the density falls: the mirrored bin has the same mass. In a tail that is away from the centre.
    x, delta = torch.broadcast_tensors(x.to(dtype), x.to(dtype) - loc.to(dtype))
    tail = (x < below) | (x > above)
    mirrored = (x < below) | (~tail & (delta < 0))
    distance = torch.where(mirrored, -delta, delta)
    half = _scale.constant(half, dtype)

    def in_sigmas(raw: Tensor, *distances: Tensor) -> list[Tensor]:
        return [standardised(each, raw, scale_param, scale_offset).expand(shape) for each in distances]

    with torch.no_grad():
        a, b = in_sigmas(raw, distance - half, distance + half)
        certain = (a < -1e4) & ((b > 1e4) | tail)
    # Nothing is outside of such a bin, and its scale may be so small that derivatives by it are infinite.
    distance, raw = torch.where(certain, 0.0, distance), torch.where(certain, 1.0, raw)
    a, b, u, w = in_sigmas(raw, distance - half, distance + half, distance, torch.full_like(distance, half))
    log_w = log(half) - 0.5 * _scale.logvar(raw, scale_param, scale_offset)
    mass = _exact_nll if cdf == "exact" else _tanh_nll
    elements = torch.where(certain, 0.0, mass(a, b, u, w, log_w, tail.expand(shape)))
    return reduce(elements, reduction, units, event_ndim)


def _exact_nll(a: Tensor, b: Tensor, u: Tensor, w: Tensor, log_w: Tensor, tail: Tensor) -> Tensor:
    """Of [a, b] = [u - w, u + w], or of [a, infinity); u, w and b + a are not negative but in a tail.

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


def check_discretized(
    x: object, loc: object, scale: object, scale_value: object, bins: object, low: object, high: object, cdf: object
) -> None:
    check_nll(x, loc, scale, scale_value, True)
    check_bins(bins, low, high, cdf)


def check_bins(bins: object, low: object, high: object, cdf: object) -> tuple[int, float, float]:
    """The number of bins and the range, as torch takes them."""
    count, (lowest, highest) = _checks.integer("bins", bins, minimum=2), check_range(low, high)
    _checks.choice("cdf", cdf, CDFS)
    return count, lowest, highest


def check_range(low: object, high: object) -> tuple[float, float]:
    """The first and the last level, as torch takes them."""
    lowest, highest = _checks.number("low", low), _checks.number("high", high)
    if not lowest < highest:
        raise ValueError(f"high: expected a number above low {lowest}, got {highest}")
    return lowest, highest
