"""Likelihoods of counts."""

from torch import Tensor

from genkern._library import Operation
from genkern.reference import counts as reference
from genkern.reference.options import Loss, schema

__all__ = ["poisson_nll"]

_poisson_nll = Operation(
    f'poisson_nll(Tensor x, Tensor rate, *, str rate_param="rate", bool full=True, {schema(Loss)}) -> Tensor',
    reference.poisson_nll,
)


def poisson_nll(
    x: Tensor,
    rate: Tensor,
    *,
    rate_param: str = "rate",
    full: bool = True,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Negative log-likelihood of the counts x under independent Poisson variables.

    Parameters
    ----------
    x : Tensor
        Counts, of a floating type. The formula holds between them, too, and gives nan for -1 and less.
    rate : Tensor
        The mean, or its logarithm, of a shape that broadcasts with that of `x`.
    rate_param : {"rate", "log"}
    full : bool
        Whether log Gamma(x + 1), which no rate changes, is part of it.

    All other options, and the result: see `genkern.functional`.

    Notes
    -----
    rate - x log rate + log Gamma(x + 1), near the mean in the form of Loader (2000), in which nothing cancels. The
    gradients are 1 - x / rate by a rate, rate - x by its logarithm, digamma(x + 1) - log rate by x.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.poisson_nll(torch.tensor([[0.0, 3.0]]), torch.tensor([[0.5, 2.0]]))
    tensor([2.2123])
    """
    return _poisson_nll(x, rate, rate_param, full, reduction, units, event_ndim)
