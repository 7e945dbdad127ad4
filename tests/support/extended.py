"""What float64 cannot be an oracle of for float64, in numpy's extended precision.

A posterior weight of a mixture of discretized logistics is an exponential of a sum of log masses, and is off by as many
ulp as these are large: in the definition no less than in a kernel. The gradient by an inverse dispersion is a
difference of digammas, which the definition takes as one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genkern.reference.bins import edges
from genkern.reference.options import Bins, Loss
from genkern.reference.reduce import reduce

Numbers = Any  # an array of np.longdouble


def logistic_mixture_gradients(tensors: dict[str, Tensor], cotangent: Tensor, **options: Any) -> dict[str, Tensor]:
    """The gradients by `x` and `params` of one shape but for the channels, for the loss of `options` and its cotangent.

    By the closed form (docs/numerics.md), which shares nothing with autograd's way through the definition.
    """
    channel, mixtures = options.get("channel_dim", 1), options["mixtures"]
    coupled = options.get("rgb_coupling", True)
    half, below, above = edges(Bins(**{name: options[name] for name in Bins._fields if name in options}))
    x = _wide(tensors["x"].movedim(channel, 0))[:, None]
    params = _wide(tensors["params"].movedim(channel, 0))
    logits, of_colours = params[:mixtures], params[mixtures:]
    of_colours = of_colours.reshape(len(x), 3 if coupled else 2, mixtures, *x.shape[2:])
    means, raw = of_colours[:, 0].copy(), of_colours[:, 1]
    if coupled:
        by = np.tanh(of_colours[:, 2])
        means[1] += by[0] * x[0]
        means[2] += by[1] * x[0] + by[2] * x[1]
    inverse = np.exp(-np.maximum(raw, options.get("min_log_scale", -7.0)))
    a, b, gap = (x - means - half) * inverse, (x - means + half) * inverse, 2 * half * inverse
    first, last = np.broadcast_to(x < below, a.shape), np.broadcast_to(x > above, a.shape)
    before, beyond = np.where(first, 0, _sigmoid(a)), np.where(last, 0, _sigmoid(-b))
    middle = ~(first | last)
    log_mass = np.where(last, 0, -_softplus(-b)) + np.where(first, 0, -_softplus(a))
    log_mass = log_mass + np.where(middle, np.log(-np.expm1(-np.where(middle, gap, 1))), 0)
    by_log_scale = a * before - b * beyond - np.where(middle, gap / np.expm1(gap), 0)

    posterior, weights = _softmax(logits + log_mass.sum(0)), _softmax(logits)
    share = _wide(_by_element(x.shape[2:], len(x), cotangent, options))
    d_means = share * posterior * (beyond - before) * inverse
    d_raw = np.where(raw < options.get("min_log_scale", -7.0), 0, -share * posterior * by_log_scale)
    d_x = -d_means.sum(1)
    by_kind = [d_means, d_raw]
    if coupled:
        slopes = 1 - by * by
        by_kind.append(np.stack((d_means[1] * x[0], d_means[2] * x[0], d_means[2] * x[1])) * slopes)
        d_x[0] += (d_means[1] * by[0] + d_means[2] * by[1]).sum(0)
        d_x[1] += (d_means[2] * by[2]).sum(0)
    d_params = np.concatenate(
        (share * (weights - posterior), np.stack(by_kind, 1).reshape(len(params) - mixtures, *x.shape[2:]))
    )
    found = {"x": _narrow(d_x), "params": _narrow(d_params)}
    return {name: value.movedim(0, channel).to(tensors[name].device) for name, value in found.items()}


def negative_binomial_gradients(tensors: dict[str, Tensor], cotangent: Tensor, **options: Any) -> dict[str, Tensor]:
    """The gradients by all arguments, of whole counts; of a zero-inflated distribution where there are dropout_logits.

    With sums of 1 / (theta + k) in place of digammas.
    """
    shape = torch.broadcast_shapes(*(t.shape for t in tensors.values()))
    x, mean, theta, *logits = (np.broadcast_to(_wide(t), shape) for t in tensors.values())
    log_theta, of_mean = options.get("dispersion_param", "value") == "log", options.get("mean_param", "mean")
    theta = np.exp(theta) if log_theta else theta
    mean = {"mean": lambda: mean, "log": lambda: np.exp(mean), "logits": lambda: theta * np.exp(mean)}[of_mean]()
    steps = sum(np.where(k < x, 1 / (theta + k), 0) for k in range(int(x.max(initial=0))))
    log_ratio = np.log1p(mean / theta)
    by_log_mean = theta * (mean - x) / (theta + mean)
    by_theta = log_ratio + (x - mean) / (theta + mean) - steps
    harmonic = sum(np.where(k < x, np.longdouble(1) / (k + 1), 0) for k in range(int(x.max(initial=0))))
    by_x = harmonic - _digamma_above_that_of_1(theta) - steps + np.log1p(theta / mean)
    found = [by_x, by_log_mean / mean if of_mean == "mean" else by_log_mean]
    found.append((by_theta + (by_log_mean / theta if of_mean == "logits" else 0)) * (theta if log_theta else 1))
    if logits:
        lost, fall = _sigmoid(logits[0]), np.exp(-theta * log_ratio)
        zero, share = x == 0, _sigmoid(-logits[0]) * fall / (lost + _sigmoid(-logits[0]) * fall)
        found = [np.where(zero, 0 if k == 0 else share * d, d) for k, d in enumerate(found)]
        found.append(np.where(zero, -(1 - share) * _sigmoid(-logits[0]) * -np.expm1(-theta * log_ratio), lost))
    share = _by_element(shape, 1, cotangent, options)
    of_elements = (_narrow(d * _wide(share)) for d in found)
    return {n: d.sum_to_size(t.shape).to(t.device) for (n, t), d in zip(tensors.items(), of_elements, strict=True)}


def _digamma_above_that_of_1(z: Numbers) -> Numbers:
    """digamma(z) - digamma(1), by the asymptotic series beyond z + 30."""
    beyond = z + 30
    square = 1 / (beyond * beyond)
    series = square * (1 / np.longdouble(12) - square * (1 / np.longdouble(120) - square * (1 / np.longdouble(252))))
    gamma = np.longdouble("0.57721566490153286060651209008240243")
    return np.log(beyond) - 1 / (2 * beyond) - series - sum(1 / (z + k) for k in range(30)) + gamma


def _by_element(shape: tuple[int, ...], colours: int, cotangent: Tensor, options: dict[str, Any]) -> Tensor:
    """What each pixel's share of the loss is multiplied by."""
    how = Loss(**{name: options[name] for name in Loss._fields if name in options})
    elements = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    loss = reduce(elements / colours if how.units == "bits_per_dim" else elements, how)
    return torch.autograd.grad(loss, elements, cotangent.double())[0]


def _wide(values: Tensor) -> Numbers:
    return values.detach().cpu().contiguous().numpy().astype(np.longdouble)


def _narrow(values: Numbers) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values.astype(np.float64)))


def _softplus(t: Numbers) -> Numbers:
    return np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))


def _sigmoid(t: Numbers) -> Numbers:
    e = np.exp(-np.abs(t))
    return np.where(t < 0, e, 1) / (1 + e)


def _softmax(t: Numbers) -> Numbers:
    e = np.exp(t - t.max(0))
    return e / e.sum(0)
