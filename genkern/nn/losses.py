"""Losses as modules: the functions of :mod:`genkern.functional` with their options held."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from genkern import functional
from genkern.nn._bernoulli import bernoulli_nll

__all__ = ["BernoulliNLLLoss", "GaussianKLLoss", "GaussianNLLLoss"]


class _FunctionalLoss(nn.Module):
    """Holds keyword options; a misspelt one is refused by the function that takes them."""

    def __init__(self, *, reduction: str = "batchmean", **options: Any) -> None:
        super().__init__()
        self.options = {"reduction": reduction, **options}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class GaussianNLLLoss(_FunctionalLoss):
    """Negative log-likelihood of data under a diagonal Gaussian.

    Parameters
    ----------
    reduction : str
        ``"batchmean"`` by default: summed over a datum, averaged over the batch.
    **options
        Any option of :func:`genkern.gaussian_nll`: ``full``, ``scale_param``, ``scale_offset``, ``clamp``,
        ``clamp_mode``, ``units``, ``event_ndim``.

    Notes
    -----
    ``forward(x, loc, scale=0.0)``: shapes, gradients and errors as :func:`genkern.gaussian_nll`; the result is in nats
    unless ``units`` says otherwise, in float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GaussianNLLLoss
    >>> loss = GaussianNLLLoss()(torch.zeros(4, 3), torch.zeros(4, 3))
    >>> round(loss.item(), 4)  # 3 · ½ log 2π
    2.7568
    """

    def forward(self, x: Tensor, loc: Tensor, scale: Tensor | float | str = 0.0) -> Tensor:
        return functional.gaussian_nll(x, loc, scale, **self.options)


class GaussianKLLoss(_FunctionalLoss):
    """KL divergence of a diagonal Gaussian from N(0, I) or from another diagonal Gaussian.

    Parameters
    ----------
    reduction : str
        ``"batchmean"`` by default: summed over a datum, averaged over the batch.
    **options
        Any option of :func:`genkern.gaussian_kl`: ``scale_param``, ``free_bits``, ``grad_scale_q``, …

    Notes
    -----
    ``forward(loc, scale, prior_loc=None, prior_scale=None)``: shapes, gradients and errors as
    :func:`genkern.gaussian_kl`; in nats unless ``units`` says otherwise, in float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GaussianKLLoss
    >>> GaussianKLLoss()(torch.ones(4, 3), torch.zeros(4, 3)).item()
    1.5
    """

    def forward(
        self, loc: Tensor, scale: Tensor, prior_loc: Tensor | None = None, prior_scale: Tensor | None = None
    ) -> Tensor:
        return functional.gaussian_kl(loc, scale, prior_loc, prior_scale, **self.options)


class BernoulliNLLLoss(_FunctionalLoss):
    """Negative log-likelihood of data in [0, 1] under independent Bernoulli variables given by their logits.

    Parameters
    ----------
    reduction : str
        ``"batchmean"`` by default: summed over a datum, averaged over the batch.
    **options
        ``units``, ``event_ndim``: as everywhere in genkern.

    Notes
    -----
    ``forward(x, logits)``: two tensors of one shape; ValueError otherwise. In nats unless ``units`` says otherwise, in
    float32 or wider; stable for every finite logit.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import BernoulliNLLLoss
    >>> round(BernoulliNLLLoss(units="bits")(torch.ones(4, 3), torch.zeros(4, 3)).item(), 4)
    3.0
    """

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        return bernoulli_nll(x, logits, **self.options)
