"""The discrete operations as torch sees them: schemas and the shapes of their results."""

from __future__ import annotations

import torch
from torch import Tensor

from genkern import _checks
from genkern._library import Operation
from genkern.functional._gaussian_ops import _KL, _REDUCE
from genkern.random import reserve
from genkern.reference import discrete as reference
from genkern.reference.gaussian import check_kl_options


def _loss(like: Tensor, shape: torch.Size, dtype: torch.dtype, reduction: str, event_ndim: int | None) -> Tensor:
    return like.new_empty(_checks.batch_shape(shape, reduction, event_ndim), dtype=dtype)


def _fake_discrete_entropy(
    p: Tensor, *, dim: int = -1, reduction: str = "event", units: str = "nats", event_ndim: int | None = None
) -> Tensor:
    reference.check_masses(p)
    dim = reference.check_classes(dim, "p", p.shape)
    _checks.reduction(reduction, units, event_ndim, p.dim() - 1)
    return _loss(p, reference.rest(p.shape, dim), _checks.compute_dtype(p), reduction, event_ndim)


def _fake_discrete_kl(
    p: Tensor, q: Tensor, *, dim: int = -1, reduction: str = "event", units: str = "nats", event_ndim: int | None = None
) -> Tensor:
    reference.check_masses(p, q)
    shape = _checks.broadcast(p=p, q=q)
    dim = reference.check_classes(dim, "p, q", shape)
    _checks.reduction(reduction, units, event_ndim, len(shape) - 1)
    return _loss(p, reference.rest(shape, dim), _checks.compute_dtype(p, q), reduction, event_ndim)


def _fake_categorical_entropy(
    logits: Tensor, *, dim: int = -1, reduction: str = "event", units: str = "nats", event_ndim: int | None = None
) -> Tensor:
    _checks.tensor("logits", logits)
    dim = reference.check_classes(dim, "logits", logits.shape)
    _checks.reduction(reduction, units, event_ndim, logits.dim() - 1)
    return _loss(logits, reference.rest(logits.shape, dim), _checks.compute_dtype(logits), reduction, event_ndim)


def _fake_categorical_kl(
    logits_q: Tensor,
    logits_p: Tensor | None,
    *,
    dim: int = -1,
    unimix: float = 0.0,
    free_bits: float = 0.0,
    grad_scale_q: float = 1.0,
    grad_scale_p: float = 1.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    shape, dim = reference.check_categorical_kl(logits_q, logits_p, dim, unimix)
    check_kl_options(free_bits, grad_scale_q, grad_scale_p)
    _checks.reduction(reduction, units, event_ndim, len(shape) - 1)
    dtype = _checks.compute_dtype(logits_q, logits_p)
    return _loss(logits_q, reference.rest(shape, dim), dtype, reduction, event_ndim)


def _fake_gumbel_softmax(
    logits: Tensor,
    key: Tensor | None,
    eps: Tensor | None,
    *,
    tau: float = 1.0,
    hard: bool = False,
    dim: int = -1,
    element_offset: int = 0,
) -> Tensor:
    reference.check_gumbel_softmax(logits, key, eps, tau, hard, dim, element_offset)
    return torch.empty_like(logits)


discrete_entropy = Operation(
    f"discrete_entropy(Tensor p, *, int dim=-1, {_REDUCE}) -> Tensor",
    reference=reference.discrete_entropy,
    fake=_fake_discrete_entropy,
    differentiable=("p",),
)
discrete_kl = Operation(
    f"discrete_kl(Tensor p, Tensor q, *, int dim=-1, {_REDUCE}) -> Tensor",
    reference=reference.discrete_kl,
    fake=_fake_discrete_kl,
    differentiable=("p", "q"),
)
categorical_entropy = Operation(
    f"categorical_entropy(Tensor logits, *, int dim=-1, {_REDUCE}) -> Tensor",
    reference=reference.categorical_entropy,
    fake=_fake_categorical_entropy,
    differentiable=("logits",),
)
categorical_kl = Operation(
    f"categorical_kl(Tensor logits_q, Tensor? logits_p, *, int dim=-1, float unimix=0.0, {_KL}, {_REDUCE}) -> Tensor",
    reference=reference.categorical_kl,
    fake=_fake_categorical_kl,
    differentiable=("logits_q", "logits_p"),
)
gumbel_softmax = Operation(
    "gumbel_softmax(Tensor logits, Tensor? key, Tensor? eps, *, float tau=1.0, bool hard=False, int dim=-1, "
    "SymInt element_offset=0) -> Tensor",
    reference=reference.gumbel_softmax,
    fake=_fake_gumbel_softmax,
    differentiable=("logits", "eps"),
    reserve=reserve,
    keeps_results=True,
)
