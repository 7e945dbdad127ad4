"""Likelihoods of counts: how a decoder's output becomes a distribution over whole numbers."""

import math

import torch
from torch import Tensor, nn

from genkern import _checks, functional
from genkern.nn._likelihood import Likelihood, check_data

__all__ = ["NegativeBinomialLikelihood", "PoissonLikelihood"]


class PoissonLikelihood(Likelihood):
    """Independent Poisson counts; the decoder gives the logarithms of their rates.

    See Also
    --------
    genkern.poisson_nll : the operation
    NegativeBinomialLikelihood : where counts spread more

    Notes
    -----
    For whole numbers, floating or int16, int32, int64. A decoder that knows the size of each datum (a cell's library)
    adds its logarithm: docs/counts.md.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import PoissonLikelihood
    >>> PoissonLikelihood().log_prob(torch.tensor([[0, 1]]), torch.zeros(1, 2))  # rates of 1: −2
    tensor([-2.])
    """

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        _checks.tensor("params", params)
        check_data(x, params, frozen, counts=True)
        return -functional.poisson_nll(x, params, rate_param="log")

    def mean(self, params: Tensor) -> Tensor:
        _checks.tensor("params", params)
        return params.exp()

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        _checks.tensor("params", params)
        return functional.poisson_sample(params, rate_param="log", key=key, element_offset=element_offset)


class NegativeBinomialLikelihood(Likelihood):
    """Independent negative binomial counts: the variance is μ + μ² / θ, more than the mean, as in single-cell data.

    Parameters
    ----------
    zero_inflated : bool
        Whether counts are lost to 0, too, each with a probability whose logits the decoder gives.
    dispersion : {"gene", "cell", "decoder"}
        Where the inverse dispersion θ comes from: learned parameters; or the decoder, one for each datum or one for
        each count.
    genes : int, optional
        For ``"gene"``: a θ for each of so many genes (dimension 1) in place of one for all.
    init : float
        The start of a learned θ.

    See Also
    --------
    genkern.negative_binomial_nll : the operation
    PoissonLikelihood : where the variance is the mean

    Notes
    -----
    Along dimension 1 the decoder gives, for data with G channels: G values of log μ; none, 1 or G of log θ, by
    `dispersion`; and G logits if `zero_inflated`. Source: Lopez et al. 2018, "Deep generative modeling for single-cell
    transcriptomics"; docs/counts.md.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import NegativeBinomialLikelihood
    >>> likelihood = NegativeBinomialLikelihood(genes=2)
    >>> likelihood.log_prob(torch.tensor([[0, 1]]), torch.zeros(1, 2))  # μ = θ = 1: −log 2 − log 4
    tensor([-2.0794], grad_fn=<NegBackward0>)
    """

    def __init__(
        self,
        zero_inflated: bool = False,
        dispersion: str = "gene",
        *,
        genes: int | None = None,
        init: float = 1.0,
    ) -> None:
        super().__init__()
        self.zero_inflated = _checks.boolean("zero_inflated", zero_inflated)
        _checks.choice("dispersion", dispersion, ("gene", "cell", "decoder"))
        init = _checks.positive_number("init", init)
        if genes is not None:
            genes = _checks.positive("genes", genes)
            if dispersion != "gene":
                raise ValueError(f"genes: expected None unless dispersion is 'gene', got {genes}")
        self.dispersion = dispersion
        self.genes = genes
        if dispersion == "gene":
            self.log_theta = nn.Parameter(torch.full(() if genes is None else (genes,), math.log(init)))

    def extra_repr(self) -> str:
        return f"zero_inflated={self.zero_inflated}, dispersion={self.dispersion!r}, genes={self.genes}"

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        log_mean, log_theta, *logits = self._parts(params)
        check_data(x, log_mean, frozen, counts=True)
        nll = functional.zero_inflated_negative_binomial_nll if logits else functional.negative_binomial_nll
        return -nll(x, log_mean, log_theta, *logits, mean_param="log", dispersion_param="log")

    def mean(self, params: Tensor) -> Tensor:
        log_mean, _, *logits = self._parts(params)
        return log_mean.exp() * torch.sigmoid(-logits[0]) if logits else log_mean.exp()

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        log_mean, log_theta, *logits = self._parts(params)
        draw = functional.zero_inflated_negative_binomial_sample if logits else functional.negative_binomial_sample
        return draw(
            log_mean,
            log_theta,
            *logits,
            mean_param="log",
            dispersion_param="log",
            key=key,
            element_offset=element_offset,
        )

    def _parts(self, params: Tensor) -> list[Tensor]:
        """log μ, log θ in a shape that broadcasts with it, and the logits if there are any."""
        _checks.tensor("params", params)
        size = params.shape[1] if params.ndim > 1 else 0
        parts = 1 + (self.dispersion == "decoder") + self.zero_inflated
        genes, rest = divmod(size - (self.dispersion == "cell"), parts)
        if genes < 0 or rest or params.ndim < 2 or self.genes not in (None, genes):
            raise ValueError(f"params: expected {self._layout(parts)} along dimension 1, got {tuple(params.shape)}")
        if self.dispersion == "cell":
            return list(params.split([genes, 1, *[genes] * self.zero_inflated], dim=1))
        found = list(params.chunk(parts, dim=1))
        if self.dispersion == "gene":
            theta = self.log_theta if self.genes is None else self.log_theta.view(-1, *[1] * (params.ndim - 2))
            found.insert(1, theta)
        return found

    def _layout(self, parts: int) -> str:
        one = "1 + " if self.dispersion == "cell" else ""
        if self.genes is not None:
            return f"{parts * self.genes} values, {parts} for each of {self.genes} genes,"
        return f"{one}{parts} values for each gene"
