"""The GAN operations as torch sees them: schemas and the shapes of their results."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genkern import _checks
from genkern._library import Op, Operation
from genkern.random import reserve
from genkern.reference import gan as reference


def _fake_discriminator_loss(
    real: Tensor,
    fake: Tensor,
    *,
    kind: str,
    label_smoothing: float = 0.0,
    hinge_scale: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    reference.check_discriminator(real, fake, kind, label_smoothing, hinge_scale, reduction)
    shape = real.shape if reduction == "none" else ()
    return real.new_empty(shape, dtype=_checks.compute_dtype(real, fake))


def _fake_generator_loss(real: Tensor | None, fake: Tensor, *, kind: str, reduction: str = "mean") -> Tensor:
    reference.check_generator(real, fake, kind, reduction)
    dtype = _checks.compute_dtype(real if kind == "relativistic" else None, fake)
    return fake.new_empty(fake.shape if reduction == "none" else (), dtype=dtype)


def _fake_interpolate(
    real: Tensor, fake: Tensor, key: Tensor | None, eps: Tensor | None, *, element_offset: int = 0
) -> Tensor:
    reference.check_interpolate(real, fake, key, eps, element_offset)
    return torch.empty_like(real, dtype=torch.promote_types(real.dtype, fake.dtype))


def _fake_zero_centered_penalty(grad: Tensor, *, reduction: str = "mean") -> Tensor:
    reference.check_penalty(grad, reduction)
    shape = grad.shape[:1] if reduction == "none" else ()
    return grad.new_empty(shape, dtype=_checks.compute_dtype(grad))


def _fake_gradient_norm_penalty(grad: Tensor, *, center: float = 1.0, reduction: str = "mean") -> tuple[Tensor, Tensor]:
    _checks.number("center", center)
    penalty = _fake_zero_centered_penalty(grad, reduction=reduction)
    return penalty, grad.new_empty(grad.shape[:1], dtype=penalty.dtype)


def _fake_minibatch_stddev(x: Tensor, group_size: int | None = 4, num_channels: int = 1) -> Tensor:
    reference.check_minibatch_stddev(x, group_size, num_channels)
    return x.new_empty((x.shape[0], x.shape[1] + num_channels, *x.shape[2:]))


def _fake_ema_update_(ema_params: Sequence[Tensor], params: Sequence[Tensor], decay: float) -> None:
    reference.check_ema(ema_params, params, decay)


discriminator_loss = Operation(
    "gan_discriminator_loss(Tensor real, Tensor fake, *, str kind, float label_smoothing=0.0, float hinge_scale=1.0, "
    'str reduction="mean") -> Tensor',
    reference=reference.gan_discriminator_loss,
    fake=_fake_discriminator_loss,
    differentiable=("real", "fake"),
)
generator_loss = Operation(
    'gan_generator_loss(Tensor? real, Tensor fake, *, str kind, str reduction="mean") -> Tensor',
    reference=reference.gan_generator_loss,
    fake=_fake_generator_loss,
    differentiable=("real", "fake"),
)
interpolate = Operation(
    "interpolate(Tensor real, Tensor fake, Tensor? key, Tensor? eps, *, SymInt element_offset=0) -> Tensor",
    reference=reference.interpolate,
    fake=_fake_interpolate,
    differentiable=("real", "fake", "eps"),
    reserve=reserve,
    noise_by_row=True,
)
zero_centered_penalty = Operation(
    'zero_centered_penalty(Tensor grad, *, str reduction="mean") -> Tensor',
    reference=reference.zero_centered_penalty,
    fake=_fake_zero_centered_penalty,
    differentiable=("grad",),
)
gradient_norm_penalty = Operation(
    'gradient_norm_penalty(Tensor grad, *, float center=1.0, str reduction="mean") -> (Tensor, Tensor)',
    reference=reference.gradient_norm_penalty,
    fake=_fake_gradient_norm_penalty,
    differentiable=("grad",),
    keeps_results=True,
)
minibatch_stddev = Operation(
    "minibatch_stddev(Tensor x, int? group_size=4, int num_channels=1) -> Tensor",
    reference=reference.minibatch_stddev,
    fake=_fake_minibatch_stddev,
    differentiable=("x",),
    by_rows=False,
)
ema_update_ = Op(
    "ema_update_(Tensor(a!)[] ema_params, Tensor[] params, float decay) -> ()",
    reference=reference.ema_update_,
    fake=_fake_ema_update_,
)
