"""Likelihoods and samples of counts."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import _checks, random
from genkern._library import Op, Operation
from genkern.functional._noise import Generators, keys_by_row
from genkern.functional._variates import Pairs, gamma_over_shape, poisson
from genkern.reference import counts as reference
from genkern.reference.definition import Definition
from genkern.reference.options import Loss, Result, schema

__all__ = [
    "negative_binomial_nll",
    "negative_binomial_sample",
    "poisson_nll",
    "poisson_sample",
    "zero_inflated_negative_binomial_nll",
    "zero_inflated_negative_binomial_sample",
]

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


@Definition
def _poisson(
    rate: Tensor, keys: list[Tensor], shape: Sequence[int], element_offset: int, rate_param: str
) -> Iterator[Any]:
    """A function of each element's rate, of a key and of the element's index."""
    _checks.choice("rate_param", rate_param, reference.RATE_PARAMS)
    sample = Result(shape, _checks.compute_dtype(rate), rate.device)
    yield sample
    mean = rate.double()
    mean = (mean.exp() if rate_param == "log" else mean).expand(shape).flatten()
    yield poisson(Pairs.of(keys, shape, element_offset, rate.device), mean).view(shape).to(sample.dtype)


@Definition
def _negative_binomial(
    mean: Tensor,
    inverse_dispersion: Tensor,
    dropout_logits: Tensor | None,
    keys: list[Tensor],
    shape: Sequence[int],
    element_offset: int,
    mean_param: str,
    dispersion_param: str,
) -> Iterator[Any]:
    """Poisson counts whose rates are the means times G / theta, G ~ Gamma(theta, 1), and 0 where they are lost."""
    reference.check_params(mean_param, dispersion_param)
    sample = Result(shape, _checks.compute_dtype(mean, inverse_dispersion, dropout_logits), mean.device)
    yield sample
    gammas, counts, lost = Pairs.of(keys, shape, element_offset, mean.device).split(3)
    parameters = reference.parameters_of(mean.double(), inverse_dispersion.double(), mean_param, dispersion_param)
    theta, value = (t.expand(shape).flatten() for t in (parameters.theta, parameters.mean))
    found = poisson(counts, value * gamma_over_shape(gammas, theta)).view(shape)
    found = torch.where(parameters.infinite & ~found.isnan(), math.inf, found)
    if dropout_logits is not None:
        logits = dropout_logits.double()
        zero = lost.draw(0, random.uniform)[0].view(shape) < torch.sigmoid(logits)
        found = torch.where(zero & ~found.isnan(), 0.0, found) + torch.where(logits.isnan(), math.nan, 0.0)
    yield found.to(sample.dtype)


_LAST_OFFSET = 2**62 - 1  # a count takes pairs of numbers, of a stream of 2**63
_KEYS = "Tensor[] keys, SymInt[] shape, SymInt element_offset"
_poisson_sample = Op(f"poisson_sample(Tensor rate, {_KEYS}, str rate_param) -> Tensor", _poisson, by_loops=True)
_negative_binomial_sample = Op(
    f"negative_binomial_sample(Tensor mean, Tensor inverse_dispersion, Tensor? dropout_logits, {_KEYS}, "
    "str mean_param, str dispersion_param) -> Tensor",
    _negative_binomial,
    by_loops=True,
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

    Options that are not listed here, and the result, are those of `genkern.functional`.

    Parameters
    ----------
    x : Tensor
        Counts, floating or int16, int32, int64. The formula holds between them, too, and gives nan for -1 and less.
    rate : Tensor
        The mean, or its logarithm, of a shape that broadcasts with that of `x`.
    rate_param : {"rate", "log"}
    full : bool
        Whether log Gamma(x + 1), which no rate changes, is part of it.

    See Also
    --------
    poisson_sample : draws
    negative_binomial_nll : where counts spread more than their mean
    genkern.nn.PoissonLikelihood : the same for a VAE

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

    Options that are not listed here, and the result, are those of `genkern.functional`.

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

    See Also
    --------
    negative_binomial_sample : draws
    zero_inflated_negative_binomial_nll : where counts are lost
    poisson_nll : where the variance is the mean
    genkern.nn.NegativeBinomialLikelihood : the same for a VAE

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
    """Negative log-likelihood of counts of which some are lost: a count is 0 with probability sigmoid(dropout_logits).

    Options that are not listed here, and the result, are those of `negative_binomial_nll`.

    Parameters
    ----------
    x, mean, inverse_dispersion : Tensor
        As in `negative_binomial_nll`.
    dropout_logits : Tensor
        It broadcasts with them.

    See Also
    --------
    negative_binomial_nll : without losses; begin with this
    zero_inflated_negative_binomial_sample : draws

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


@torch.no_grad()
def poisson_sample(
    rate: Tensor,
    *,
    rate_param: str = "rate",
    sample_shape: Sequence[int] = (),
    element_offset: int = 0,
    key: Tensor | None = None,
    generator: Generators | None = None,
) -> Tensor:
    """Draw Poisson counts.

    Parameters
    ----------
    rate, rate_param
        As in `poisson_nll`.
    sample_shape, element_offset, key, generator
        See `genkern.functional`.

    Returns
    -------
    Tensor
        ``[*sample_shape, *rate.shape]``, whole numbers as float32, or float64 where rate is; nan for a rate that is
        negative or nan. No gradient.

    See Also
    --------
    poisson_nll : how probable counts are
    negative_binomial_sample : counts that spread more

    Notes
    -----
    Exact, in float64: inversion for rates below 10, Hörmann's transformed rejection (1993) above. A count is a function
    of the key and its index; on another device it is the same but where the rounding of a logarithm decides.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.poisson_sample(torch.tensor([0.5, 20.0, 1e6]), key=gk.random.key(0)).shape
    torch.Size([3])
    """
    noise = _noise({"rate": rate}, sample_shape, element_offset, key, generator)
    return _poisson_sample(rate, *noise, rate_param)


@torch.no_grad()
def negative_binomial_sample(
    mean: Tensor,
    inverse_dispersion: Tensor,
    *,
    mean_param: str = "mean",
    dispersion_param: str = "value",
    sample_shape: Sequence[int] = (),
    element_offset: int = 0,
    key: Tensor | None = None,
    generator: Generators | None = None,
) -> Tensor:
    """Draw negative binomial counts.

    Parameters
    ----------
    mean, inverse_dispersion, mean_param, dispersion_param
        As in `negative_binomial_nll`.
    sample_shape, element_offset, key, generator
        See `genkern.functional`.

    Returns
    -------
    Tensor
        ``[*sample_shape, *broadcast]``, whole numbers as float32, or float64 where an argument is; nan for parameters
        that are none. No gradient.

    See Also
    --------
    negative_binomial_nll : how probable counts are
    zero_inflated_negative_binomial_sample : where counts are lost

    Notes
    -----
    Poisson counts of the rates mean * G / inverse_dispersion with G ~ Gamma(inverse_dispersion, 1), both exact
    (Marsaglia & Tsang 2000 and `poisson_sample`).

    Examples
    --------
    >>> import genkern as gk, torch
    >>> x = gk.negative_binomial_sample(torch.full((1000, 50), 3.0), torch.tensor(2.0), key=gk.random.key(0))
    >>> bool(abs(x.mean() - 3) < 0.1), bool(abs(x.var() - (3 + 9 / 2)) < 0.3)
    (True, True)
    """
    tensors = {"mean": mean, "inverse_dispersion": inverse_dispersion}
    noise = _noise(tensors, sample_shape, element_offset, key, generator)
    return _negative_binomial_sample(mean, inverse_dispersion, None, *noise, mean_param, dispersion_param)


@torch.no_grad()
def zero_inflated_negative_binomial_sample(
    mean: Tensor,
    inverse_dispersion: Tensor,
    dropout_logits: Tensor,
    *,
    mean_param: str = "mean",
    dispersion_param: str = "value",
    sample_shape: Sequence[int] = (),
    element_offset: int = 0,
    key: Tensor | None = None,
    generator: Generators | None = None,
) -> Tensor:
    """Draw negative binomial counts of which some are lost: 0 with the probability sigmoid(dropout_logits).

    The arguments and the result are those of `negative_binomial_sample`, whose counts of the same key these are where
    they are not lost.

    See Also
    --------
    zero_inflated_negative_binomial_nll : how probable counts are
    negative_binomial_sample : without losses

    Examples
    --------
    >>> import genkern as gk, torch
    >>> mean, logits = torch.full((1000, 50), 30.0), torch.tensor(0.0)
    >>> x = gk.zero_inflated_negative_binomial_sample(mean, torch.tensor(9.0), logits, key=gk.random.key(0))
    >>> bool(abs((x == 0).float().mean() - 0.5) < 0.01)
    True
    """
    tensors = {"mean": mean, "inverse_dispersion": inverse_dispersion, "dropout_logits": dropout_logits}
    noise = _noise(tensors, sample_shape, element_offset, key, generator)
    return _negative_binomial_sample(*tensors.values(), *noise, mean_param, dispersion_param)


def _noise(
    tensors: dict[str, Tensor],
    sample_shape: Sequence[int],
    element_offset: int,
    key: Tensor | None,
    generator: Generators | None,
) -> tuple[list[Tensor], Sequence[int], int]:
    """A key for all elements or one for each row, the shape of the sample, and the index of its first element."""
    for name, value in tensors.items():
        _checks.tensor(name, value)
    _checks.same_device(**tensors)
    like = next(iter(tensors.values()))
    shape = (*_checks.sizes("sample_shape", sample_shape), *_checks.broadcast(**tensors))
    offset = _checks.integer("element_offset", element_offset, minimum=0)
    if offset > _LAST_OFFSET:
        raise ValueError(f"element_offset: expected at most 2**62 - 1, got {offset}")
    _checks.key("key", key, device=like.device, optional=True)
    if key is not None and generator is not None:
        raise ValueError("key, generator: expected at most one of the two")
    if key is not None:
        return [key], shape, offset
    if generator is None or isinstance(generator, torch.Generator):
        return [random.reserve(generator, like.device)], shape, offset
    return keys_by_row(shape, generator), shape, 0
