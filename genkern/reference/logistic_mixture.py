"""A mixture of discretized logistics in plain torch: the definition (Salimans et al. 2017, PixelCNN++)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genkern import _checks
from genkern.reference.bins import edges, log, log1mexp, negligible
from genkern.reference.definition import Definition
from genkern.reference.options import Bins, Loss, Sigma
from genkern.reference.reduce import logsumexp, reduce
from genkern.reference.scale import clamp, tanh

COLOURS = 3


@Definition
def discretized_logistic_mixture_nll(
    x: Tensor,
    params: Tensor,
    mixtures: int,
    grey: Bins,
    channel_dim: int,
    rgb_coupling: bool,
    min_log_scale: float,
    loss: Loss,
) -> Iterator[Any]:
    """-log sum_m w_m prod_c mass(x_c | m) for each pixel, then reduced over pixels."""
    _checks.tensor("x", x)
    channel = check_params(params, mixtures, grey, channel_dim, rgb_coupling, min_log_scale)
    _checks.same_device(x=x, params=params)
    grey.check()
    if x.dim() != params.dim():
        raise ValueError(f"x: expected {params.dim()} dimensions as params, got shape {_checks.shape_text(x.shape)}")
    colours = colours_of(params, mixtures, channel, rgb_coupling)
    if x.shape[channel] != colours:
        raise ValueError(
            f"x: expected {colours} channels along dimension {channel}, for which params has parameters, "
            f"got {x.shape[channel]}"
        )
    of_x, of_params = (t.shape[:channel] + t.shape[channel + 1 :] for t in (x, params))
    try:
        pixels = torch.broadcast_shapes(of_x, of_params)
    except RuntimeError:
        raise ValueError(
            f"params: expected a shape that broadcasts with x {_checks.shape_text(x.shape)} "
            f"but for the channels, got {_checks.shape_text(params.shape)}"
        ) from None
    nll = loss.result(pixels, x, params)
    yield nll
    logits, means, log_scales, coefficients = unpack(params.to(nll.dtype), mixtures, channel, rgb_coupling)
    values = x.to(nll.dtype).movedim(channel, 0).unsqueeze(1)  # [colour, 1, ...] beside [colour, mixture, ...]
    if rgb_coupling:
        means = coupled(means, tanh(coefficients), values)
    log_mass = _log_mass(values, means, clamp(log_scales, Sigma(clamp_lo=min_log_scale)), grey).sum(0)
    elements = -logsumexp(torch.log_softmax(logits, 0) + log_mass, 0)
    yield reduce(elements / colours if loss.units == "bits_per_dim" else elements, loss)


def unpack(params: Tensor, mixtures: int, channel: int, rgb_coupling: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits [mixture, ...]; means, log-scales and coefficients (if coupled) [colour, mixture, ...]."""
    params = params.movedim(channel, 0)
    of_colours = params[mixtures:].unflatten(0, (-1, COLOURS if rgb_coupling else 2, mixtures))
    return params[:mixtures], of_colours[:, 0], of_colours[:, 1], of_colours[:, -1]


def coupled(means: Tensor, coefficients: Tensor, values: Tensor) -> Tensor:
    """The means of green and blue, moved by the colours before them."""
    red, green = values[0], values[1]
    moved = means[1] + coefficients[0] * red, means[2] + coefficients[1] * red + coefficients[2] * green
    return torch.stack((means[0].expand_as(moved[0]), *moved))


def _log_mass(x: Tensor, mean: Tensor, log_scale: Tensor, grey: Bins) -> Tensor:
    """log(sigmoid(b) - sigmoid(a)) = log sigmoid(b) + log sigmoid(-a) + log(1 - exp(a - b)) over the bin [a, b].

    The outermost bins reach to infinity, where one term is all there is.
    """
    half, below, above = edges(grey)
    inverse = torch.exp(-log_scale)
    centre, width = (x - mean) * inverse, half * inverse
    from_below, from_above = -softplus(-(centre + width), threshold=40.0), -softplus(centre - width, threshold=40.0)
    gap = 2 * width
    narrow = gap < negligible(gap.dtype)
    log_gap = torch.where(narrow, log(2 * half) - log_scale, log1mexp(torch.where(narrow, 1.0, gap)))
    middle = from_below + from_above + log_gap
    return torch.where(x < below, from_below, torch.where(x > above, from_above, middle))


def check_params(
    params: Tensor, mixtures: int, grey: Bins, channel_dim: int, rgb_coupling: bool, min_log_scale: float
) -> int:
    """The channel dimension, not negative."""
    _checks.tensor("params", params)
    _checks.integer("mixtures", mixtures, minimum=1)
    grey.check_range()
    _checks.integer("channel_dim", channel_dim)
    _checks.boolean("rgb_coupling", rgb_coupling)
    _checks.number("min_log_scale", min_log_scale)
    if not -params.dim() <= channel_dim < params.dim():
        raise ValueError(
            f"channel_dim: expected a dimension of params {_checks.shape_text(params.shape)}, got {channel_dim}"
        )
    channel = channel_dim % params.dim()
    colours_of(params, mixtures, channel, rgb_coupling)
    return channel


def colours_of(params: Tensor, mixtures: int, channel: int, rgb_coupling: bool) -> int:
    """The number of channels of data that there are parameters for."""
    channels = params.shape[channel]
    if rgb_coupling:
        if channels != 10 * mixtures:
            raise ValueError(f"params: expected 10 * {mixtures} channels along dimension {channel}, got {channels}")
        return COLOURS
    if channels < 3 * mixtures or (channels - mixtures) % (2 * mixtures):
        raise ValueError(
            f"params: expected M + 2 M C channels along dimension {channel} for M = {mixtures} and a C >= 1, "
            f"got {channels}"
        )
    return (channels - mixtures) // (2 * mixtures)
