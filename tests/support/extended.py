"""What float64 cannot be an oracle of for float64: the mixture of discretized logistics in numpy's extended precision.

A posterior weight is an exponential of a sum of log masses, and is off by as many ulp as these are large: in the
definition no less than in a kernel.
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
