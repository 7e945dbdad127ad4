"""What is done with gradients between ``backward`` and an optimiser's step."""

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from genkern import _checks, _dtensor

__all__ = ["average_gradients", "clip_or_skip"]


def average_gradients(params: Iterable[Tensor]) -> None:
    """Replace gradients by their mean over the ranks of the default process group: one all-reduce a dtype.

    Parameters
    ----------
    params : iterable of Tensor
        The same on every rank; those without a gradient are left out, on every rank alike, and so are those of
        ``fully_shard``, which has averaged their gradients.

    See Also
    --------
    AdversarialSteps : calls it between backward and step

    Notes
    -----
    Without a process group, or alone in one, nothing is done. As with DistributedDataParallel, the mean of the ranks'
    gradients is that of the whole batch only if all ranks have as many rows.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import average_gradients
    >>> weight = torch.ones(2, requires_grad=True)
    >>> weight.sum().backward()
    >>> average_gradients([weight])
    >>> weight.grad
    tensor([1., 1.])
    """
    if not isinstance(params, Iterable) or isinstance(params, Tensor | str | bytes | dict):
        raise TypeError(f"params: expected a list of Tensors, got {_checks.type_name(params)}")
    values = list(params)
    for i, value in enumerate(values):
        _checks.tensor(f"params[{i}]", value)
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return
    grads = [p.grad for p in values if p.grad is not None and not _dtensor.given([p])]
    for dtype in dict.fromkeys(g.dtype for g in grads):
        alike = [g for g in grads if g.dtype == dtype]
        flat = torch.cat([g.flatten() for g in alike])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for grad, mean in zip(alike, flat.split([g.numel() for g in alike]), strict=True):
            grad.copy_(mean.view_as(grad))


def clip_or_skip(
    parameters: Tensor | Iterable[Tensor], *, clip: float | None = None, skip: float | None = None
) -> bool:
    """Whether an update is to be taken; gradients are clipped to the norm `clip`.

    Deep hierarchies have rare gradients thousands of times larger than the rest, after which they do not recover: an
    update whose gradient has a norm above `skip`, or no finite norm, is left out (Child 2021, section 3.1). Call it
    between ``backward`` and ``step``, where a GradScaler is used behind its ``unscale_``. It waits for the device.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Of any shapes and dtypes; those without a gradient are passed over. The norm is that of all, in float32 or
        wider; of a model under ``fully_shard`` it is that of all ranks, which call together.
    clip, skip : float, optional
        Norms; None: no bound.

    Raises
    ------
    TypeError, ValueError
        A bound is no positive number.

    See Also
    --------
    HierarchicalVAE : deep ladders need it

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import clip_or_skip
    >>> weight = torch.ones(4, requires_grad=True)
    >>> weight.grad = torch.full((4,), 50.0)
    >>> clip_or_skip([weight], clip=1.0, skip=200.0), clip_or_skip([weight], skip=0.5)
    (True, False)
    """
    clip = math.inf if clip is None else _checks.positive_number("clip", clip)
    skip = math.inf if skip is None else _checks.positive_number("skip", skip)
    if not isinstance(parameters, Iterable):
        raise TypeError(f"parameters: expected a Tensor or several, got {_checks.type_name(parameters)}")
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for parameter in parameters:
        _checks.tensor("parameters", parameter)
    # torch computes with no list that has both plain tensors and shards.
    kinds = [[p for p in parameters if _dtensor.given([p]) == sharded] for sharded in (False, True)]
    norm = math.hypot(*map(_norm, kinds))
    if not math.isfinite(norm) or norm > skip:
        return False
    if norm > clip:
        for alike in kinds:
            torch.nn.utils.clip_grads_with_norm_(alike, clip, torch.tensor(norm))
    return True


def _norm(parameters: list[Tensor]) -> float:
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([g.to(_checks.compute_dtype(g)) for g in gradients])
    return float(_dtensor.whole(norm))
