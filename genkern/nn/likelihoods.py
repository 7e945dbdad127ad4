"""How a decoder's output becomes a distribution over data: p(x | z).

A likelihood is a small module with three methods. A new one is a class and one entry in :data:`LIKELIHOODS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genkern import _checks, functional, random
from genkern.nn._bernoulli import bernoulli_nll

__all__ = ["LIKELIHOODS", "BernoulliLikelihood", "GaussianLikelihood", "Likelihood", "make_likelihood"]

_SIGMA_KINDS = ("learned", "decoder", "optimal")
_SLOWEST_UPDATE = 0.01


class Likelihood(nn.Module):
    """What :class:`genkern.nn.VAE` asks of a likelihood; `params` is whatever the decoder gives."""

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        """log p(x | z) ``[B]`` in nats, float32 or wider; `frozen`: a density that no other datum influences."""
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        """E[x | z], with the shape of the data: the picture to show."""
        raise NotImplementedError

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        """One draw of x given z, with the shape of the data; a pure function of its arguments."""
        raise NotImplementedError


class GaussianLikelihood(Likelihood):
    """Independent Gaussians around the decoder's output.

    Parameters
    ----------
    sigma : float or {"learned", "decoder", "optimal"}
        Standard deviation: a fixed number; one learned parameter (or one a channel, see `channels`); given for every
        pixel by the decoder, whose output then holds means and log-variances along dimension 1; or the batch's optimum,
        σ² = mean squared error (σ-VAE: Rybkin et al. 2021).
    init : float
        What a learned σ starts from.
    channels : int, optional
        For ``"learned"``: one σ for each of this many channels (dimension 1) in place of one for all.

    Notes
    -----
    With ``"optimal"``, training mode uses the batch's own σ and keeps a running mean of σ² in the ``state_dict``, which
    evaluation mode and frozen densities use, as batch normalisation does: a density of held-out data must not be fitted
    to them. The log-density is one of x on its own scale. Errors: ValueError, TypeError naming the argument.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GaussianLikelihood
    >>> likelihood = GaussianLikelihood(sigma=1.0)
    >>> likelihood.log_prob(torch.zeros(2, 3), torch.zeros(2, 3))  # −3 · ½ log 2π
    tensor([-2.7568, -2.7568])
    """

    running_variance: Tensor
    batches: Tensor

    def __init__(self, sigma: float | str = "learned", *, init: float = 0.1, channels: int | None = None) -> None:
        super().__init__()
        if isinstance(sigma, str):
            _checks.choice("sigma", sigma, _SIGMA_KINDS)
        else:
            _positive_number("sigma", sigma)
        _positive_number("init", init)
        _checks.integer("channels", channels, optional=True, minimum=1)
        if channels is not None and sigma != "learned":
            raise ValueError(f"channels: expected None unless sigma is 'learned', got {channels}")
        self.sigma = sigma
        if sigma == "learned":
            self.log_sigma = nn.Parameter(torch.full(() if channels is None else (channels,), math.log(init)))
        if sigma == "optimal":
            self.register_buffer("running_variance", torch.full((), init**2))
            self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        if self.sigma == "optimal" and self.training and not frozen:
            self._track(x, params)
            return -functional.gaussian_nll(x, params, "optimal")
        loc, logvar = self._moments(params)
        return -functional.gaussian_nll(x, loc, logvar)

    def mean(self, params: Tensor) -> Tensor:
        return self._moments(params)[0]

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        loc, logvar = self._moments(params)
        scale = torch.as_tensor(logvar, dtype=loc.dtype, device=loc.device).expand_as(loc)
        return functional.gaussian_rsample(loc, scale, key=key, element_offset=element_offset)

    def extra_repr(self) -> str:
        return f"sigma={self.sigma!r}"

    def _moments(self, params: Tensor) -> tuple[Tensor, Tensor | float]:
        """Mean, and log-variance in a shape that broadcasts against it."""
        if self.sigma == "decoder":
            if params.ndim < 2 or params.shape[1] % 2:
                raise ValueError(
                    "decoder: expected an even size along dimension 1 (means, log-variances) for sigma='decoder', "
                    f"got {tuple(params.shape)}"
                )
            loc, logvar = params.chunk(2, dim=1)
            return loc, logvar
        if self.sigma == "learned":
            logvar = 2 * self.log_sigma
            return params, logvar.view(-1, *[1] * (params.ndim - 2)) if logvar.ndim else logvar
        if self.sigma == "optimal":
            return params, self.running_variance.log()
        return params, 2 * math.log(float(self.sigma))

    @torch.no_grad()
    def _track(self, x: Tensor, loc: Tensor) -> None:
        """A plain mean over the first batches, then an exponential one."""
        self.batches += 1
        weight = (1.0 / self.batches).clamp(min=_SLOWEST_UPDATE)
        error = (x.to(self.running_variance.dtype) - loc).square().mean()
        self.running_variance.lerp_(error.to(self.running_variance.dtype), weight.to(self.running_variance.dtype))


class BernoulliLikelihood(Likelihood):
    """Independent Bernoulli variables; the decoder gives their logits.

    Notes
    -----
    For data in [0, 1]. With grey levels strictly between 0 and 1 the "likelihood" is the customary cross-entropy, not a
    density (Loaiza-Ganem & Cunningham 2019).

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import BernoulliLikelihood
    >>> BernoulliLikelihood().log_prob(torch.ones(1, 2), torch.zeros(1, 2))  # −2 log 2
    tensor([-1.3863])
    """

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        return -bernoulli_nll(x, params)

    def mean(self, params: Tensor) -> Tensor:
        return params.sigmoid()

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        u = random.uniform(key, params.shape, element_offset=element_offset).to(params.device)
        return (u < params.sigmoid()).to(params.dtype)


LIKELIHOODS: dict[str, Callable[[], Likelihood]] = {
    "gaussian": GaussianLikelihood,
    "bernoulli": BernoulliLikelihood,
}


def make_likelihood(likelihood: str | Likelihood) -> Likelihood:
    """The likelihood of that name in :data:`LIKELIHOODS`, with its defaults; an instance is returned as it is."""
    if isinstance(likelihood, Likelihood):
        return likelihood
    if not isinstance(likelihood, str):
        raise TypeError(f"likelihood: expected a name or a Likelihood, got {type(likelihood).__name__}")
    _checks.choice("likelihood", likelihood, tuple(LIKELIHOODS))
    return LIKELIHOODS[likelihood]()


def _positive_number(name: str, value: float) -> None:
    _checks.number(name, value)
    if not value > 0:
        raise ValueError(f"{name}: expected a positive number, got {value}")
