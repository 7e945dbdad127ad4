"""The GAN family in plain torch (sources: docs/numerics.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from genkern import _checks
from genkern.reference.random import random_uniform

KINDS = ("minimax", "non_saturating", "hinge", "lsgan", "wgan", "relativistic")
WITH_LABELS = ("minimax", "non_saturating", "lsgan")
REDUCTIONS = ("none", "mean", "sum")
STDDEV_EPS = 1e-8  # as the authors of StyleGAN have it


def gan_discriminator_loss(
    real: Tensor,
    fake: Tensor,
    *,
    kind: str,
    label_smoothing: float = 0.0,
    hinge_scale: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """What the discriminator minimises, from its logits of real and of generated data."""
    check_discriminator(real, fake, kind, label_smoothing, hinge_scale, reduction)
    dtype = _checks.compute_dtype(real, fake)
    real, fake = real.to(dtype), fake.to(dtype)
    if kind == "relativistic":
        return _reduce(softplus(fake - real), reduction)
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
    return _reduce(of_real, reduction) + _reduce(of_fake, reduction)


def gan_generator_loss(real: Tensor | None, fake: Tensor, *, kind: str, reduction: str = "mean") -> Tensor:
    """What the generator minimises, from the discriminator's logits; those of real data count in pairs alone."""
    check_generator(real, fake, kind, reduction)
    if kind != "relativistic":
        real = None
    dtype = _checks.compute_dtype(real, fake)
    fake = fake.to(dtype)
    if real is not None:
        elements = softplus(real.to(dtype) - fake)
    elif kind == "minimax":
        elements = -softplus(fake)
    elif kind == "lsgan":
        elements = 0.5 * (fake - 1) ** 2
    else:
        elements = softplus(-fake) if kind == "non_saturating" else -fake
    return _reduce(elements, reduction)


def interpolate(
    real: Tensor, fake: Tensor, key: Tensor | None, eps: Tensor | None, *, element_offset: int = 0
) -> Tensor:
    """eps real + (1 - eps) fake, one uniform eps a sample."""
    check_interpolate(real, fake, key, eps, element_offset)
    dtype = _checks.compute_dtype(real, fake, eps)
    if eps is None:
        assert key is not None
        eps = random_uniform(key, real.shape[:1], dtype, element_offset, real.device)
    eps = eps.to(dtype).reshape((*real.shape[:1], *(1,) * (real.dim() - 1)))
    points = eps * real.to(dtype) + (1 - eps) * fake.to(dtype)
    return points.to(torch.promote_types(real.dtype, fake.dtype))


def zero_centered_penalty(grad: Tensor, *, reduction: str = "mean") -> Tensor:
    """The sum of squares of each sample."""
    check_penalty(grad, reduction)
    return _reduce(_squares(grad), reduction)


def gradient_norm_penalty(grad: Tensor, *, center: float = 1.0, reduction: str = "mean") -> tuple[Tensor, Tensor]:
    """(norm - center)^2 of each sample, and the norms; where a norm is 0, so is its gradient."""
    check_penalty(grad, reduction)
    _checks.number("center", center)
    squares = _squares(grad)
    zero = squares == 0
    norms = torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, squares)))
    return _reduce((norms - center) ** 2, reduction), norms


def minibatch_stddev(x: Tensor, group_size: int | None = 4, num_channels: int = 1) -> Tensor:
    """x with channels appended that tell how its group varies: sample n is a member of group n mod groups."""
    check_minibatch_stddev(x, group_size, num_channels)
    size, channels = x.shape[:2]
    groups = 1 if group_size is None else (size + group_size - 1) // group_size
    values = x.to(_checks.compute_dtype(x))
    group = torch.arange(size, device=x.device) % groups

    def over_group(values: Tensor) -> Tensor:
        """For each sample, the sum over its group."""
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
    return torch.cat((x, statistic.expand(size, num_channels, *x.shape[2:])), 1).contiguous()


def ema_update_(ema_params: Sequence[Tensor], params: Sequence[Tensor], decay: float) -> None:
    """average += (1 - decay) (value - average), of each pair, in place."""
    check_ema(ema_params, params, decay)
    for average, value in zip(ema_params, params, strict=True):
        dtype = _checks.compute_dtype(average, value)
        before, towards = average.detach().to(dtype), value.detach().to(dtype)
        average.detach().copy_(before + (1 - decay) * (towards - before))


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


def check_discriminator(
    real: object, fake: object, kind: object, label_smoothing: object, hinge_scale: object, reduction: object
) -> None:
    _checks.tensor("real", real)
    _checks.tensor("fake", fake)
    assert isinstance(real, Tensor) and isinstance(fake, Tensor)
    _checks.same_device(real=real, fake=fake)
    _checks.choice("kind", kind, KINDS)
    _checks.fraction("label_smoothing", label_smoothing)
    if label_smoothing and kind not in WITH_LABELS:
        raise ValueError(f"label_smoothing: expected 0 for kind {kind!r}, which has no labels, got {label_smoothing}")
    _checks.number("hinge_scale", hinge_scale)
    if hinge_scale != 1 and kind != "hinge":
        raise ValueError(f"hinge_scale: expected 1 for kind {kind!r}, got {hinge_scale}")
    _checks.choice("reduction", reduction, REDUCTIONS)
    _check_paired(real, fake, kind, reduction)


def check_generator(real: object, fake: object, kind: object, reduction: object) -> None:
    _checks.tensor("real", real, optional=True)
    _checks.tensor("fake", fake)
    _checks.choice("kind", kind, KINDS)
    _checks.choice("reduction", reduction, REDUCTIONS)
    if kind != "relativistic":
        return
    if real is None:
        raise TypeError("real: expected a Tensor for kind 'relativistic', got None")
    assert isinstance(real, Tensor) and isinstance(fake, Tensor)
    _checks.same_device(real=real, fake=fake)
    _check_paired(real, fake, kind, reduction)


def _check_paired(real: Tensor, fake: Tensor, kind: object, reduction: object) -> None:
    if (kind == "relativistic" or reduction == "none") and real.shape != fake.shape:
        why = "kind 'relativistic'" if kind == "relativistic" else "reduction 'none'"
        expected, got = (_checks.shape_text(t.shape) for t in (real, fake))
        raise ValueError(f"fake: expected shape {expected} as real for {why}, got {got}")


def check_interpolate(real: object, fake: object, key: object, eps: object, element_offset: object) -> None:
    _checks.tensor("real", real)
    _checks.tensor("fake", fake)
    assert isinstance(real, Tensor) and isinstance(fake, Tensor)
    _checks.integer("element_offset", element_offset, minimum=0)
    _checks.key("key", key, device=real.device, optional=True)
    _checks.tensor("eps", eps, optional=True)
    assert eps is None or isinstance(eps, Tensor)
    _checks.same_device(real=real, fake=fake, eps=eps)
    if real.shape != fake.shape:
        expected, got = (_checks.shape_text(t.shape) for t in (real, fake))
        raise ValueError(f"fake: expected shape {expected} as real, got {got}")
    if (key is None) == (eps is None):
        raise ValueError(f"key, eps: expected exactly one of the two, got {'neither' if key is None else 'both'}")
    if eps is not None and eps.shape != real.shape[:1]:
        expected, got = _checks.shape_text(real.shape[:1]), _checks.shape_text(eps.shape)
        raise ValueError(f"eps: expected shape {expected}, one value a sample, got {got}")


def check_penalty(grad: object, reduction: object) -> None:
    _checks.tensor("grad", grad)
    _checks.choice("reduction", reduction, REDUCTIONS)


def check_minibatch_stddev(x: object, group_size: object, num_channels: object) -> None:
    _checks.tensor("x", x)
    assert isinstance(x, Tensor)
    _checks.integer("group_size", group_size, optional=True, minimum=1)
    _checks.integer("num_channels", num_channels, minimum=1)
    if x.dim() < 2:
        raise ValueError(f"x: expected shape (N, C, ...), got {_checks.shape_text(x.shape)}")
    if x.shape[1] % num_channels:  # type: ignore[operator]
        raise ValueError(f"num_channels: expected a divisor of the {x.shape[1]} channels of x, got {num_channels}")


def check_ema(ema_params: Sequence[object], params: Sequence[object], decay: object) -> None:
    for name, values in (("ema_params", ema_params), ("params", params)):
        if not isinstance(values, list | tuple):
            raise TypeError(f"{name}: expected a list of Tensors, got {_checks.type_name(values)}")
    _checks.fraction("decay", decay)
    if len(params) != len(ema_params):
        raise ValueError(f"params: expected {len(ema_params)} Tensors, as many as ema_params, got {len(params)}")
    for i, (average, value) in enumerate(zip(ema_params, params, strict=True)):
        _checks.tensor(f"ema_params[{i}]", average)
        _checks.tensor(f"params[{i}]", value)
        assert isinstance(average, Tensor) and isinstance(value, Tensor)
        first = ema_params[0]
        assert isinstance(first, Tensor)
        for name, t in ((f"ema_params[{i}]", average), (f"params[{i}]", value)):
            if t.device != first.device:
                raise ValueError(f"{name}: expected device {first.device} as ema_params[0], got {t.device}")
        if value.shape != average.shape:
            expected, got = (_checks.shape_text(t.shape) for t in (average, value))
            raise ValueError(f"params[{i}]: expected shape {expected} as ema_params[{i}], got {got}")
