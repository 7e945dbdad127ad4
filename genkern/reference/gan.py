"""The GAN family in plain torch (sources: docs/numerics.md)."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from genkern import _checks
from genkern.reference.definition import Definition
from genkern.reference.options import Result
from genkern.reference.random import random_uniform

KINDS = ("minimax", "non_saturating", "hinge", "lsgan", "wgan", "relativistic")
WITH_LABELS = ("minimax", "non_saturating", "lsgan")
REDUCTIONS = ("none", "mean", "sum")
STDDEV_EPS = 1e-8  # as the authors of StyleGAN have it


@Definition
def gan_discriminator_loss(
    real: Tensor, fake: Tensor, kind: str, label_smoothing: float, hinge_scale: float, reduction: str
) -> Iterator[Any]:
    """The discriminator's loss, from its logits of real and of generated data."""
    _checks.tensors(real=real, fake=fake)
    check_discriminator_options(kind, label_smoothing, hinge_scale)
    _checks.choice("reduction", reduction, REDUCTIONS)
    _check_paired(real, fake, kind, reduction)
    dtype = _checks.compute_dtype(real, fake)
    yield Result(real.shape if reduction == "none" else (), dtype, real.device)
    real, fake = real.to(dtype), fake.to(dtype)
    if kind == "relativistic":
        yield _reduce(softplus(fake - real), reduction)
        return
    if kind == "hinge":
        of_real, of_fake = hinge_scale * torch.relu(1 - real), hinge_scale * torch.relu(1 + fake)
    elif kind == "lsgan":
        of_real, of_fake = 0.5 * (real - (1 - label_smoothing)) ** 2, 0.5 * fake * fake
    elif kind == "wgan":
        of_real, of_fake = -real, fake
    else:
        of_real, of_fake = softplus(-real), softplus(fake)
        if label_smoothing:
            of_real = (1 - label_smoothing) * of_real + label_smoothing * softplus(real)
    yield _reduce(of_real, reduction) + _reduce(of_fake, reduction)


@Definition
def gan_generator_loss(real: Tensor | None, fake: Tensor, kind: str, reduction: str) -> Iterator[Any]:
    """The generator's loss, from the discriminator's logits; those of real data count in pairs alone."""
    _checks.tensor("real", real, optional=True)
    _checks.tensor("fake", fake)
    _checks.choice("kind", kind, KINDS)
    _checks.choice("reduction", reduction, REDUCTIONS)
    if kind == "relativistic":
        if real is None:
            raise TypeError("real: expected a Tensor for kind 'relativistic', got None")
        _checks.same_device(real=real, fake=fake)
        _check_paired(real, fake, kind, reduction)
    else:
        real = None
    dtype = _checks.compute_dtype(real, fake)
    yield Result(fake.shape if reduction == "none" else (), dtype, fake.device)
    fake = fake.to(dtype)
    if real is not None:
        elements = softplus(real.to(dtype) - fake)
    elif kind == "minimax":
        elements = -softplus(fake)
    elif kind == "lsgan":
        elements = 0.5 * (fake - 1) ** 2
    else:
        elements = softplus(-fake) if kind == "non_saturating" else -fake
    yield _reduce(elements, reduction)


@Definition
def interpolate(
    real: Tensor, fake: Tensor, key: Tensor | None, eps: Tensor | None, element_offset: int
) -> Iterator[Any]:
    """eps real + (1 - eps) fake, one uniform eps a sample."""
    _checks.tensors(real=real, fake=fake)
    _checks.integer("element_offset", element_offset, minimum=0)
    if real.shape != fake.shape:
        expected, got = (_checks.shape_text(t.shape) for t in (real, fake))
        raise ValueError(f"fake: expected shape {expected} as real, got {got}")
    _checks.noise(key, eps, real.shape[:1], "one value a sample", real=real, fake=fake)
    points = Result(real.shape, torch.promote_types(real.dtype, fake.dtype), real.device, real)
    yield points
    dtype = _checks.compute_dtype(real, fake, eps)
    if eps is None:
        assert key is not None
        eps = random_uniform(key, real.shape[:1], dtype, element_offset, real.device)
    eps = eps.to(dtype).reshape((*real.shape[:1], *(1,) * (real.dim() - 1)))
    yield (eps * real.to(dtype) + (1 - eps) * fake.to(dtype)).to(points.dtype)


@Definition
def zero_centered_penalty(grad: Tensor, reduction: str) -> Iterator[Any]:
    """The sum of squares of each sample."""
    _checks.tensor("grad", grad)
    _checks.choice("reduction", reduction, REDUCTIONS)
    yield Result(grad.shape[:1] if reduction == "none" else (), _checks.compute_dtype(grad), grad.device)
    yield _reduce(_squares(grad), reduction)


@Definition
def gradient_norm_penalty(grad: Tensor, center: float, reduction: str) -> Iterator[Any]:
    """(norm - center)^2 of each sample, and the norms; where a norm is 0, so is its gradient."""
    _checks.number("center", center)
    yield zero_centered_penalty.results(grad, reduction), zero_centered_penalty.results(grad, "none")
    squares = _squares(grad)
    zero = squares == 0
    norms = torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, squares)))
    yield _reduce((norms - center) ** 2, reduction), norms


@Definition
def minibatch_stddev(x: Tensor, group_size: int | None, num_channels: int) -> Iterator[Any]:
    """x with channels appended that tell how its group varies: sample n is a member of group n mod groups."""
    _checks.tensor("x", x)
    _checks.integer("group_size", group_size, optional=True, minimum=1)
    _checks.integer("num_channels", num_channels, minimum=1)
    if x.dim() < 2:
        raise ValueError(f"x: expected shape (N, C, ...), got {_checks.shape_text(x.shape)}")
    if x.shape[1] % num_channels:
        raise ValueError(f"num_channels: expected a divisor of the {x.shape[1]} channels of x, got {num_channels}")
    yield Result((x.shape[0], x.shape[1] + num_channels, *x.shape[2:]), x.dtype, x.device)
    size, channels = x.shape[:2]
    groups = 1 if group_size is None else (size + group_size - 1) // group_size
    values = x.to(_checks.compute_dtype(x))
    group = torch.arange(size, device=x.device) % groups

    def over_group(values: Tensor) -> Tensor:
        """The sum over the group of each sample."""
        return torch.zeros_like(values).index_add(0, group, values).index_select(0, group)

    count = over_group(values.new_ones(size)).reshape(size, *(1,) * (x.dim() - 1))
    # The mean is kept as its distance from the first member: rounded to the size of the members themselves, it would
    # lose the digits in which nearly equal ones differ.
    distance = values - values.index_select(0, group)
    away = distance - over_group(distance) / count
    stddev = torch.sqrt(over_group(away * away) / count + STDDEV_EPS)
    averaged = channels // num_channels * math.prod(x.shape[2:])
    by_feature = stddev.reshape(size, num_channels, averaged)
    statistic = (by_feature.sum(2) / averaged).to(x.dtype).reshape(size, num_channels, *(1,) * (x.dim() - 2))
    yield torch.cat((x, statistic.expand(size, num_channels, *x.shape[2:])), 1).contiguous()


@Definition
def ema_update_(ema_params: Sequence[Tensor], params: Sequence[Tensor], decay: float) -> Iterator[Any]:
    """average += (1 - decay) (value - average), of each pair, in place."""
    for name, values in (("ema_params", ema_params), ("params", params)):
        if not isinstance(values, list | tuple):
            raise TypeError(f"{name}: expected a list of Tensors, got {_checks.type_name(values)}")
    _checks.fraction("decay", decay)
    if len(params) != len(ema_params):
        raise ValueError(f"params: expected {len(ema_params)} Tensors, as many as ema_params, got {len(params)}")
    for i, (average, value) in enumerate(zip(ema_params, params, strict=True)):
        _checks.tensor(f"ema_params[{i}]", average)
        _checks.tensor(f"params[{i}]", value)
        first = ema_params[0]
        for name, t in ((f"ema_params[{i}]", average), (f"params[{i}]", value)):
            if t.device != first.device:
                raise ValueError(f"{name}: expected device {first.device} as ema_params[0], got {t.device}")
        if value.shape != average.shape:
            expected, got = (_checks.shape_text(t.shape) for t in (average, value))
            raise ValueError(f"params[{i}]: expected shape {expected} as ema_params[{i}], got {got}")
    yield ()
    for average, value in zip(ema_params, params, strict=True):
        dtype = _checks.compute_dtype(average, value)
        before, towards = average.detach().to(dtype), value.detach().to(dtype)
        average.detach().copy_(before + (1 - decay) * (towards - before))
    yield None


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), which torch's own cuts off at 20."""
    return -logsigmoid(-x)


def _reduce(elements: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return elements
    return elements.mean() if reduction == "mean" else elements.sum()


def _squares(grad: Tensor) -> Tensor:
    values = grad.to(_checks.compute_dtype(grad))
    squares = values * values
    return squares.sum(tuple(range(1, grad.dim()))) if grad.dim() > 1 else squares


def check_discriminator_options(kind: str, label_smoothing: float, hinge_scale: float) -> None:
    _checks.choice("kind", kind, KINDS)
    _checks.fraction("label_smoothing", label_smoothing)
    if label_smoothing and kind not in WITH_LABELS:
        raise ValueError(f"label_smoothing: expected 0 for kind {kind!r}, which has no labels, got {label_smoothing}")
    _checks.number("hinge_scale", hinge_scale)
    if hinge_scale != 1 and kind != "hinge":
        raise ValueError(f"hinge_scale: expected 1 for kind {kind!r}, got {hinge_scale}")


def _check_paired(real: Tensor, fake: Tensor, kind: str, reduction: str) -> None:
    if (kind == "relativistic" or reduction == "none") and real.shape != fake.shape:
        why = "kind 'relativistic'" if kind == "relativistic" else "reduction 'none'"
        expected, got = (_checks.shape_text(t.shape) for t in (real, fake))
        raise ValueError(f"fake: expected shape {expected} as real for {why}, got {got}")
