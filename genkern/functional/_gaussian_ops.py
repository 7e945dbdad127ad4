"""The Gaussian operations as torch sees them: schemas and the shapes of their results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern._library import Operation
from genkern.random import reserve
from genkern.reference import gaussian as reference
from genkern.reference import hierarchical

_SAMPLE = "SymInt[] sample_shape=[], float temperature=1.0, SymInt element_offset=0"
_SCALE = (
    'str scale_param="logvar", float scale_offset=0.0, float? clamp_lo=None, float? clamp_hi=None, '
    'str clamp_mode="hard"'
)
_KL = "float free_bits=0.0, float grad_scale_q=1.0, float grad_scale_p=1.0"
_REDUCE = 'str reduction="event", str units="nats", int? event_ndim=None'


def _like(tensor: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Uninitialised, in the memory format of `tensor` where the shapes agree (as the kernels allocate)."""
    if tuple(tensor.shape) == tuple(shape):
        return torch.empty_like(tensor, dtype=dtype)
    return tensor.new_empty(tuple(shape), dtype=dtype)


def _loss(like: Tensor, shape: torch.Size, dtype: torch.dtype, reduction: str, event_ndim: int | None) -> Tensor:
    if reduction == "none":
        return _like(like, shape, dtype)
    return like.new_empty(_checks.batch_shape(shape, reduction, event_ndim), dtype=dtype)


def _fake_rsample(
    loc: Tensor,
    scale: Tensor,
    key: Tensor | None,
    eps: Tensor | None,
    *,
    sample_shape: Sequence[int] = (),
    temperature: float = 1.0,
    element_offset: int = 0,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
) -> Tensor:
    reference.check_sample(loc, scale, key, eps, sample_shape, temperature, element_offset)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    shape = (*sample_shape, *_checks.broadcast(loc=loc, scale=scale))
    return _like(loc, shape, torch.promote_types(loc.dtype, scale.dtype))


def _fake_kl(
    loc: Tensor,
    scale: Tensor,
    prior_loc: Tensor | None,
    prior_scale: Tensor | None,
    *,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    free_bits: float = 0.0,
    grad_scale_q: float = 1.0,
    grad_scale_p: float = 1.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    reference.check_kl(loc, scale, prior_loc, prior_scale)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    reference.check_kl_options(free_bits, grad_scale_q, grad_scale_p)
    shape = _checks.broadcast(loc=loc, scale=scale, prior_loc=prior_loc, prior_scale=prior_scale)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(loc, scale, prior_loc, prior_scale)
    return _loss(loc, shape, dtype, reduction, event_ndim)


_SAMPLE_OPTIONS = ("sample_shape", "temperature", "element_offset")
_SCALE_OPTIONS = ("scale_param", "scale_offset", "clamp_lo", "clamp_hi", "clamp_mode")


def _fake_rsample_kl(
    loc: Tensor,
    scale: Tensor,
    prior_loc: Tensor | None,
    prior_scale: Tensor | None,
    key: Tensor | None,
    eps: Tensor | None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    sample = {name: value for name, value in options.items() if name in _SAMPLE_OPTIONS + _SCALE_OPTIONS}
    divergence = {name: value for name, value in options.items() if name not in _SAMPLE_OPTIONS}
    reference.check_kl(loc, scale, prior_loc, prior_scale)
    z = _fake_rsample(loc, scale, key, eps, **sample)
    shape = _checks.broadcast(loc=loc, scale=scale)
    _checks.within(shape, "loc and scale", prior_loc=prior_loc, prior_scale=prior_scale)
    return z, _fake_kl(loc, scale, prior_loc, prior_scale, **divergence)


def _fake_rsample_kl_packed(
    moments: Tensor, chunk_dim: int, latent: int | None, key: Tensor | None, eps: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor]:
    loc, scale = reference.unpack(moments, chunk_dim, latent)
    return _fake_rsample_kl(loc, scale, None, None, key, eps, **options)


def _fake_residual_rsample_kl(
    prior_loc: Tensor,
    prior_scale: Tensor,
    delta_loc: Tensor,
    delta_scale: Tensor,
    key: Tensor | None,
    eps: Tensor | None,
    *,
    temperature: float = 1.0,
    element_offset: int = 0,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    free_bits: float = 0.0,
    grad_scale_q: float = 1.0,
    grad_scale_p: float = 1.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parameters = hierarchical.check_parameters(prior_loc, prior_scale, delta_loc, delta_scale)
    shape = _checks.broadcast(**parameters)
    reference.check_noise(shape, key, eps, temperature, element_offset, **parameters)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    reference.check_kl_options(free_bits, grad_scale_q, grad_scale_p)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(*parameters.values())
    kl, log_q, log_p = (_loss(prior_loc, shape, dtype, reduction, event_ndim) for _ in range(3))
    return _like(prior_loc, shape, hierarchical.sample_dtype(**parameters)), kl, log_q, log_p


def _fake_nll(
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
    reference.check_nll(x, loc, scale, scale_value, full)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    shape = _checks.broadcast(x=x, loc=loc, scale=scale)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    return _loss(x, shape, _checks.compute_dtype(x, loc, scale), reduction, event_ndim)


def _fake_entropy(
    scale: Tensor,
    *,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp_lo: float | None = None,
    clamp_hi: float | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    _checks.tensor("scale", scale)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    _checks.reduction(reduction, units, event_ndim, scale.dim())
    return _loss(scale, scale.shape, _checks.compute_dtype(scale), reduction, event_ndim)


rsample = Operation(
    f"gaussian_rsample(Tensor loc, Tensor scale, Tensor? key, Tensor? eps, *, {_SAMPLE}, {_SCALE}) -> Tensor",
    reference=reference.gaussian_rsample,
    fake=_fake_rsample,
    differentiable=("loc", "scale", "eps"),
    reserve=reserve,
)
kl = Operation(
    "gaussian_kl(Tensor loc, Tensor scale, Tensor? prior_loc, Tensor? prior_scale, *, "
    f"{_SCALE}, {_KL}, {_REDUCE}) -> Tensor",
    reference=reference.gaussian_kl,
    fake=_fake_kl,
    differentiable=("loc", "scale", "prior_loc", "prior_scale"),
)
rsample_kl = Operation(
    "gaussian_rsample_kl(Tensor loc, Tensor scale, Tensor? prior_loc, Tensor? prior_scale, Tensor? key, Tensor? eps, "
    f"*, {_SAMPLE}, {_SCALE}, {_KL}, {_REDUCE}) -> (Tensor, Tensor)",
    reference=reference.gaussian_rsample_kl,
    fake=_fake_rsample_kl,
    differentiable=("loc", "scale", "prior_loc", "prior_scale", "eps"),
    reserve=reserve,
)
rsample_kl_packed = Operation(
    "gaussian_rsample_kl_packed(Tensor moments, int chunk_dim, SymInt? latent, Tensor? key, Tensor? eps, "
    f"*, {_SAMPLE}, {_SCALE}, {_KL}, {_REDUCE}) -> (Tensor, Tensor)",
    reference=reference.gaussian_rsample_kl_packed,
    fake=_fake_rsample_kl_packed,
    differentiable=("moments", "eps"),
    reserve=reserve,
)
residual_rsample_kl = Operation(
    "gaussian_residual_rsample_kl(Tensor prior_loc, Tensor prior_scale, Tensor delta_loc, Tensor delta_scale, "
    "Tensor? key, Tensor? eps, *, float temperature=1.0, SymInt element_offset=0, "
    f"{_SCALE}, {_KL}, {_REDUCE}) -> (Tensor, Tensor, Tensor, Tensor)",
    reference=hierarchical.gaussian_residual_rsample_kl,
    fake=_fake_residual_rsample_kl,
    differentiable=("prior_loc", "prior_scale", "delta_loc", "delta_scale", "eps"),
    reserve=reserve,
)
nll = Operation(
    "gaussian_nll(Tensor x, Tensor loc, Tensor? scale, float scale_value=0.0, *, bool full=True, "
    f"{_SCALE}, {_REDUCE}) -> Tensor",
    reference=reference.gaussian_nll,
    fake=_fake_nll,
    differentiable=("x", "loc", "scale"),
)
entropy = Operation(
    f"gaussian_entropy(Tensor scale, *, {_SCALE}, {_REDUCE}) -> Tensor",
    reference=reference.gaussian_entropy,
    fake=_fake_entropy,
    differentiable=("scale",),
)
