"""The mixture of discretized logistics as torch sees it: schema and the shape of the result."""

from __future__ import annotations

from torch import Tensor

from genkern import _checks
from genkern._library import Operation
from genkern.functional._gaussian_ops import _REDUCE
from genkern.reference import logistic_mixture as reference


def _fake_nll(
    x: Tensor,
    params: Tensor,
    *,
    mixtures: int,
    bins: int = 256,
    low: float = -1.0,
    high: float = 1.0,
    channel_dim: int = 1,
    rgb_coupling: bool = True,
    min_log_scale: float = -7.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    _, shape = reference.check(x, params, mixtures, bins, low, high, channel_dim, rgb_coupling, min_log_scale)
    _checks.reduction(reduction, units, event_ndim, len(shape))
    dtype = _checks.compute_dtype(x, params)
    return x.new_empty(_checks.batch_shape(shape, reduction, event_ndim), dtype=dtype)


nll = Operation(
    "discretized_logistic_mixture_nll(Tensor x, Tensor params, *, int mixtures, int bins=256, float low=-1.0, "
    "float high=1.0, int channel_dim=1, bool rgb_coupling=True, float min_log_scale=-7.0, "
    f"{_REDUCE}) -> Tensor",
    reference=reference.discretized_logistic_mixture_nll,
    fake=_fake_nll,
    differentiable=("x", "params"),
)
