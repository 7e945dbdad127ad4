"""The likelihoods of data as torch sees them: schemas and the shapes of their results."""

from __future__ import annotations

from torch import Tensor

from genkern import _checks
from genkern._library import Operation
from genkern.functional._gaussian_ops import _REDUCE, _SCALE, _fake_nll, _loss
from genkern.reference import likelihood as reference


def _fake_bernoulli_nll(
    x: Tensor,
    logits: Tensor,
    *,
    label_smoothing: float = 0.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    reference.check_bernoulli(x, logits, label_smoothing)
    shape = _checks.broadcast(x=x, logits=logits)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    return _loss(x, shape, _checks.compute_dtype(x, logits), reduction, event_ndim)


def _fake_discretized_gaussian_nll(
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
    reference.check_discretized(x, loc, scale, scale_value, bins, low, high, cdf)
    _checks.scale(scale_param, scale_offset, clamp_lo, clamp_hi, clamp_mode)
    shape = _checks.broadcast(x=x, loc=loc, scale=scale)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    return _loss(x, shape, _checks.compute_dtype(x, loc, scale), reduction, event_ndim)


bernoulli_nll = Operation(
    f"bernoulli_nll(Tensor x, Tensor logits, *, float label_smoothing=0.0, {_REDUCE}) -> Tensor",
    reference=reference.bernoulli_nll,
    fake=_fake_bernoulli_nll,
    differentiable=("x", "logits"),
)
laplace_nll = Operation(
    "laplace_nll(Tensor x, Tensor loc, Tensor? scale, float scale_value=0.0, *, bool full=True, "
    f"{_SCALE}, {_REDUCE}) -> Tensor",
    reference=reference.laplace_nll,
    fake=_fake_nll,
    differentiable=("x", "loc", "scale"),
)
discretized_gaussian_nll = Operation(
    "discretized_gaussian_nll(Tensor x, Tensor loc, Tensor? scale, float scale_value=0.0, *, int bins=256, "
    f'float low=-1.0, float high=1.0, str cdf="exact", {_SCALE}, {_REDUCE}) -> Tensor',
    reference=reference.discretized_gaussian_nll,
    fake=_fake_discretized_gaussian_nll,
    differentiable=("x", "loc", "scale"),
)
