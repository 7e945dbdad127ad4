"""Likelihoods of counts in plain torch."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference.definition import Definition
from genkern.reference.options import Loss
from genkern.reference.reduce import reduce

RATE_PARAMS = ("rate", "log")


@Definition
def poisson_nll(x: Tensor, rate: Tensor, rate_param: str, full: bool, loss: Loss) -> Iterator[Any]:
    """rate - x log rate + log Gamma(x + 1), the last term if `full`; a rate of 0 gives 0 where x is 0, too."""
    _checks.tensors(x=x, rate=rate)
    _checks.choice("rate_param", rate_param, RATE_PARAMS)
    nll = loss.result(_checks.broadcast(x=x, rate=rate), x, rate)
    yield nll
    x, rate = x.to(nll.dtype), rate.to(nll.dtype)
    x = x + torch.where(x <= -1, math.nan, 0.0)
    zero, one = (-math.inf, 0.0) if rate_param == "log" else (0.0, 1.0)
    certain = (x == 0) & (rate == zero)
    hidden = torch.where(certain, one, rate)
    elements = rate.exp() - x * hidden if rate_param == "log" else rate - x * hidden.log()
    yield reduce(elements + torch.lgamma(x + 1) if full else elements, loss)
