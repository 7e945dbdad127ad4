"""Likelihoods of counts in plain torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference.options import Loss, Result
from genkern.reference.reduce import reduce

RATE_PARAMS = ("rate", "log")


def poisson_nll_result(x: Tensor, rate: Tensor, rate_param: str, full: bool, loss: Loss) -> Result:
    _checks.tensors(x=x, rate=rate)
    _checks.choice("rate_param", rate_param, RATE_PARAMS)
    return loss.result(_checks.broadcast(x=x, rate=rate), x, rate)


def poisson_nll(x: Tensor, rate: Tensor, rate_param: str, full: bool, loss: Loss) -> Tensor:
    """rate - x log rate + log Gamma(x + 1), the last term if `full`; a rate of 0 gives 0 where x is 0, too."""
    dtype = poisson_nll_result(x, rate, rate_param, full, loss).dtype
    x, rate = x.to(dtype), rate.to(dtype)
    x = x + torch.where(x <= -1, math.nan, 0.0)
    zero, one = (-math.inf, 0.0) if rate_param == "log" else (0.0, 1.0)
    certain = (x == 0) & (rate == zero)
    hidden = torch.where(certain, one, rate)
    elements = rate.exp() - x * hidden if rate_param == "log" else rate - x * hidden.log()
    return reduce(elements + torch.lgamma(x + 1) if full else elements, loss)
