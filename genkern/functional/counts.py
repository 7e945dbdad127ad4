"""Likelihoods of counts."""

from torch import Tensor

from genkern._library import Operation
from genkern.reference import counts as reference
from genkern.reference.options import Loss, schema

__all__ = ["negative_binomial_nll", "poisson_nll", "zero_inflated_negative_binomial_nll"]

_poisson_nll = Operation(
    f'poisson_nll(Tensor x, Tensor rate, *, str rate_param="rate", bool full=True, {schema(Loss)}) -> Tensor',
    reference.poisson_nll,
)
_OPTIONS = f'str mean_param="mean", str dispersion_param="value", {schema(Loss)}'
_negative_binomial_nll = Operation(
    f"negative_binomial_nll(Tensor x, Tensor mean, Tensor inverse_dispersion, *, {_OPTIONS}) -> Tensor",
    reference.negative_binomial_nll,
)
_zero_inflated_negative_binomial_nll = Operation(
    "zero_inflated_negative_binomial_nll(Tensor x, Tensor mean, Tensor inverse_dispersion, Tensor dropout_logits, *, "
    f"{_OPTIONS}) -> Tensor",
    reference.zero_inflated_negative_binomial_nll,
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
        Counts, floating or int16, int32, int64. The formula holds between them, too, and gives nan for -1 and less.
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


def negative_binomial_nll(
    x: Tensor,
    mean: Tensor,
    inverse_dispersion: Tensor,
    *,
    mean_param: str = "mean",
    dispersion_param: str = "value",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Negative log-likelihood of the counts x under independent negative binomial variables.

    Parameters
    ----------
    x : Tensor
        Counts, floating or int16, int32, int64. The formula holds between them, too, and gives nan for -1 and less.
    mean : Tensor
        The mean mu; its logarithm; or log(mu / theta), the logits of a success. It broadcasts with `x`, as does
    inverse_dispersion : Tensor
        theta, the number of failures, or its logarithm: the variance is mu + mu^2 / theta. One a gene, a cell or an
        element. Large ones lead to the Poisson distribution.
    mean_param : {"mean", "log", "logits"}
    dispersion_param : {"value", "log"}

    All other options, and the result: see `genkern.functional`.

    Notes
    -----
    -log of Gamma(x + theta) / (Gamma(theta) x!) (theta / (theta + mu))^theta (mu / (theta + mu))^x, by the saddle-point
    form of Loader (2000), in which nothing cancels: right for theta from 1e-6 to 1e12 and counts to 1e6
    (docs/numerics.md). The gradient by log mu is theta (mu - x) / (theta + mu), that by theta a difference of
    digammas in which nothing cancels. A count of 0 takes a logarithm and no Gamma.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> x, mean = torch.tensor([[0, 3, 1]]), torch.tensor([[0.5, 2.0, 1.0]])
    >>> gk.negative_binomial_nll(x, mean, torch.tensor(1.5))
    tensor([3.8756])
    """
    return _negative_binomial_nll(
        x, mean, inverse_dispersion, mean_param, dispersion_param, reduction, units, event_ndim
    )


def zero_inflated_negative_binomial_nll(
    x: Tensor,
    mean: Tensor,
    inverse_dispersion: Tensor,
    dropout_logits: Tensor,
    *,
    mean_param: str = "mean",
    dispersion_param: str = "value",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """The same where a count is lost: with the probability sigmoid(dropout_logits) it is 0 whatever it was.

    Parameters
    ----------
    x, mean, inverse_dispersion : Tensor
        As in `negative_binomial_nll`.
    dropout_logits : Tensor
        It broadcasts with them.

    All options: see there.

    Notes
    -----
    Lopez et al. 2018, "Deep generative modeling for single-cell transcriptomics". At 0 it is -log(s + (1 - s) p(0)),
    of s = sigmoid(dropout_logits), which does not depend on x: its gradient by a count of 0 is 0.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> x, mean = torch.tensor([[0, 3, 1]]), torch.tensor([[0.5, 2.0, 1.0]])
    >>> gk.zero_inflated_negative_binomial_nll(x, mean, torch.tensor(1.5), torch.tensor(-1.0))
    tensor([4.3666])
    """
    return _zero_inflated_negative_binomial_nll(
        x, mean, inverse_dispersion, dropout_logits, mean_param, dispersion_param, reduction, units, event_ndim
    )
