"""Discrete distributions in plain torch: entropy and divergence of mass vectors and of logits, and relaxed samples.

Sources: Shannon 1948; Kullback & Leibler 1951; Hafner et al. 2023, DreamerV3 (unimix and the balanced divergence);
Jang et al. 2017 and Maddison et al. 2017 (Gumbel-softmax).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference import scale as _scale
from genkern.reference.definition import Definition
from genkern.reference.gaussian import expm1_minus
from genkern.reference.options import Divergence, Loss, Result
from genkern.reference.random import random_uniform
from genkern.reference.reduce import at_least, reduce


@Definition
def discrete_entropy(p: Tensor, dim: int, loss: Loss) -> Iterator[Any]:
    """-sum p log p; a class without mass is left out, of the gradient too."""
    _checks.tensor("p", p)
    entropy = loss.result(rest(p.shape, check_classes(dim, "p", p.shape)), p)
    yield entropy
    wide = p.to(entropy.dtype)
    some = wide != 0
    elements = -torch.where(some, wide * torch.log(_or_one(wide, some)), torch.zeros_like(wide))
    yield reduce(elements.sum(dim), loss)


@Definition
def discrete_kl(p: Tensor, q: Tensor, dim: int, loss: Loss) -> Iterator[Any]:
    """sum p log(p / q); a class where p has no mass is left out, of the gradient too."""
    _checks.tensors(p=p, q=q)
    shape = _checks.broadcast(p=p, q=q)
    kl = loss.result(rest(shape, check_classes(dim, "p, q", shape)), p, q)
    yield kl
    some = (p != 0).expand(shape)
    p, q = (_or_one(t.to(kl.dtype).expand(shape), some) for t in (p, q))
    elements = torch.where(some, p * _log_ratio(p, q), torch.zeros_like(p))
    yield reduce(elements.sum(dim), loss)


@Definition
def categorical_entropy(logits: Tensor, dim: int, loss: Loss) -> Iterator[Any]:
    """-sum q log q, q = softmax(logits)."""
    _checks.tensor("logits", logits)
    entropy = loss.result(rest(logits.shape, check_classes(dim, "logits", logits.shape)), logits)
    yield entropy
    log_q = torch.log_softmax(logits.to(entropy.dtype), dim)
    elements = -torch.exp(log_q) * log_q.masked_fill(log_q == -math.inf, 0.0)
    yield reduce(elements.sum(dim), loss)


@Definition
def categorical_kl(
    logits_q: Tensor, logits_p: Tensor | None, dim: int, unimix: float, divergence: Divergence, loss: Loss
) -> Iterator[Any]:
    """KL(q || p) of (1 - unimix) softmax(logits) + unimix / K each; no logits_p: uniform.

    It is the sum of q (exp(-r) - 1 + r) with r = log(q / p): both sum to 1, and no term is negative or cancels.
    """
    _checks.tensors(logits_q=logits_q, logits_p=logits_p, optional=("logits_p",))
    _checks.fraction("unimix", unimix)
    shape = _checks.broadcast(logits_q=logits_q, logits_p=logits_p)
    dim = check_classes(dim, "logits_q" if logits_p is None else "logits_q, logits_p", shape)
    divergence.check()
    kl = loss.result(rest(shape, dim), logits_q, logits_p)
    yield kl
    logits_q = _scale.scale_gradient(logits_q.to(kl.dtype), divergence.grad_scale_q).expand(shape)
    if logits_p is None:
        logits_p = torch.zeros_like(logits_q)
    else:
        logits_p = _scale.scale_gradient(logits_p.to(kl.dtype), divergence.grad_scale_p).expand(shape)
    log_q, log_p = _log_softmax(logits_q, dim), _log_softmax(logits_p, dim)
    q, p = torch.exp(log_q), torch.exp(log_p)

    # Where either has no mass at all there is no ratio; what then is infinite is added at the end, without a gradient.
    none_q, none_p = log_q == -math.inf, log_p == -math.inf
    log_ratio = (log_q - log_p).masked_fill(none_q | none_p, 0.0)
    log_ratio = log_ratio + _unrounded(log_ratio, logits_q, logits_p, none_q | none_p, dim)
    if unimix:
        classes = shape[dim]
        excess = _difference(q, p, log_ratio, none_q | none_p)
        q, p = ((1 - unimix) * mass + unimix / classes for mass in (q, p))
        log_ratio = _log1p_or_log((1 - unimix) * excess / p, q, p)
        none_p = none_q = torch.zeros_like(none_q)
    near = (log_ratio.abs() < 1) & ~(none_q | none_p)
    series = q * expm1_minus(torch.where(near, -log_ratio, torch.zeros_like(log_ratio)))
    terms = torch.where(near, series, p - q + q * log_ratio)
    infinite = torch.where(none_p & (q > 0), torch.full_like(terms, math.inf), torch.zeros_like(terms))
    elements = (terms + infinite - _origin(log_ratio, q, dim) * (q - q.detach())).sum(dim)
    if divergence.free_bits:
        elements = at_least(elements, divergence.free_bits, loss.units)
    yield reduce(elements, loss)


def _log_softmax(logits: Tensor, dim: int) -> Tensor:
    """torch's, but a number, with its gradient, where a finite logit is further from the largest than numbers reach."""
    apart = logits - logits.detach().amax(dim, keepdim=True)
    beyond = (apart == -math.inf) & torch.isfinite(logits)
    apart = torch.where(beyond, torch.finfo(apart.dtype).min + (logits - logits.detach()), apart)
    return apart - torch.log(torch.exp(apart).sum(dim, keepdim=True))


def _origin(log_ratio: Tensor, q: Tensor, dim: int) -> Tensor:
    """The log ratio of a class that has most of q, or 0.

    The gradient by q does not change when all log ratios are less a constant. Without this one the gradient of a nearly
    certain q would be lost in the rounding of its one large log ratio.
    """
    share, top = q.detach().max(dim, keepdim=True)
    return torch.where(share > 0.5, log_ratio.detach().gather(dim, top), torch.zeros_like(share))


@Definition
def gumbel_softmax(
    logits: Tensor, key: Tensor | None, eps: Tensor | None, tau: float, hard: bool, dim: int, element_offset: int
) -> Iterator[Any]:
    """softmax((logits + eps) / tau), or one-hot with that gradient; eps is Gumbel noise."""
    _checks.tensor("logits", logits)
    _checks.number("tau", tau, minimum=0)
    _checks.boolean("hard", hard)
    _checks.integer("element_offset", element_offset, minimum=0)
    _checks.noise(key, eps, logits.shape, logits=logits)
    check_classes(dim, "logits", logits.shape)
    yield Result(logits.shape, logits.dtype, logits.device, logits)
    dtype = _checks.compute_dtype(logits)
    if eps is None:
        assert key is not None
        eps = gumbel(random_uniform(key, logits.shape, dtype, element_offset, logits.device))
    scores = logits.to(dtype) + eps.to(dtype)
    top = scores.detach().argmax(dim, keepdim=True)
    one_hot = torch.zeros_like(scores).scatter(dim, top, 1.0)
    # No sample where there is no largest score: where all of them are -inf, or one is inf or nan.
    missing = torch.isfinite(scores.detach().amax(dim, keepdim=True)).logical_not()
    one_hot = one_hot.masked_fill(missing, math.nan)
    if tau <= torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps / 2:  # 0 in this dtype
        y = torch.where(torch.ones_like(scores, dtype=torch.bool), one_hot, scores)  # the gradient is 0
    else:
        # The largest score is taken off before the division, which then overflows to -inf alone.
        y = torch.softmax((scores - scores.detach().amax(dim, keepdim=True)) / tau, dim)
        if hard:
            y = _scale.add_gradient(one_hot, y, 1.0)
    yield y.to(logits.dtype)


def gumbel(u: Tensor) -> Tensor:
    """Standard Gumbel noise -log(-log(1 - v)) from the uniform stream.

    It has multiples of 2^-24 (float64: 2^-53) in [0, 1): v is the middle of each step, rounded, below 1.
    """
    step = torch.finfo(u.dtype).eps / 2
    v = (u + step / 2).clamp_max(1 - step)
    return -torch.log(-torch.log1p(-v))


def check_classes(dim: int, name: str, shape: torch.Size) -> int:
    """The dimension of the classes, counted from the front."""
    _checks.integer("dim", dim)
    if not -len(shape) <= dim < len(shape):
        raise ValueError(f"dim: expected a dimension of {name} {_checks.shape_text(shape)}, got {dim}")
    if shape[dim] == 0:
        raise ValueError(f"{name}: expected at least 1 class along dimension {dim}, got {_checks.shape_text(shape)}")
    return dim % len(shape)


def rest(shape: torch.Size, dim: int) -> torch.Size:
    """The shape without the dimension of the classes."""
    dim %= len(shape)
    return torch.Size((*shape[:dim], *shape[dim + 1 :]))


def _or_one(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values, torch.ones_like(values))


def _log_ratio(p: Tensor, q: Tensor) -> Tensor:
    """log(p / q), accurate where the two are nearly equal."""
    return _log1p_or_log((p - q) / _or_one(q, q != 0), p, q)


def _log1p_or_log(relative: Tensor, q: Tensor, p: Tensor) -> Tensor:
    """log(q / p), given q / p - 1, which is accurate where small."""
    near = (relative.abs() < 0.5) & (p != 0)
    inner = torch.where(near, relative, torch.zeros_like(relative))
    return torch.where(near, torch.log1p(inner), torch.log(_or_one(q, ~near)) - torch.log(_or_one(p, ~near)))


def _difference(q: Tensor, p: Tensor, log_ratio: Tensor, neither: Tensor) -> Tensor:
    """q - p, without cancellation where the two are nearly equal."""
    near = (log_ratio.abs() < 1) & ~neither
    return torch.where(near, p * torch.expm1(torch.where(near, log_ratio, torch.zeros_like(p))), q - p)


def _unrounded(log_ratio: Tensor, logits_q: Tensor, logits_p: Tensor, neither: Tensor, dim: int) -> Tensor:
    """The part of log(q / p) that the difference of two rounded logarithms lacks, all of it rounding; no gradient."""
    with torch.no_grad():
        top_q, top_p = (logits.amax(dim, keepdim=True) for logits in (logits_q, logits_p))
        # Of the two logits and the largest two, those are subtracted first that are nearer to each other.
        apart, tops, from_q, from_p = logits_q - logits_p, top_q - top_p, logits_q - top_q, logits_p - top_p
        nearer = apart.abs() < -(from_q + from_p) - tops.abs()
        shifted = torch.where(nearer, apart - tops, from_q - from_p).masked_fill(neither, 0.0)
        q, p = torch.exp(logits_q - top_q), torch.exp(logits_p - top_p)
        total_q, total_p = q.sum(dim, keepdim=True), p.sum(dim, keepdim=True)
        excess = _difference(q, p, shifted, neither).sum(dim, keepdim=True) / total_p
        info = torch.finfo(shifted.dtype)
        accurate = (shifted - _log1p_or_log(excess, total_q, total_p)).clamp(info.min, info.max)
        return (accurate - log_ratio).masked_fill(neither, 0.0)
