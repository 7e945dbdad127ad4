"""How a decoder's output becomes a distribution over data: p(x | z).

A likelihood is a small module with three methods. A new one is a class and one entry in `LIKELIHOODS`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genkern import _checks, functional, random
from genkern.functional import _ordered
from genkern.functional.likelihood import grey_levels
from genkern.functional.logistic_mixture import colours_of, unpack
from genkern.nn._buffers import update_buffers
from genkern.nn._likelihood import Likelihood, check_data
from genkern.nn.count_likelihoods import NegativeBinomialLikelihood, PoissonLikelihood

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "DiscretizedGaussianLikelihood",
    "DiscretizedLogisticMixtureLikelihood",
    "GaussianLikelihood",
    "LaplaceLikelihood",
    "Likelihood",
    "NegativeBinomialLikelihood",
    "PoissonLikelihood",
    "make_likelihood",
]

_SLOWEST_UPDATE = 0.01
_STEP = 2.0**-24  # of uniform noise in float32


class _LocScaleLikelihood(Likelihood):
    """A location from the decoder, and a scale that is fixed, learned, or the decoder's too."""

    _KINDS: tuple[str, ...] = ("learned", "decoder")

    def __init__(self, sigma: float | str = "learned", *, init: float = 0.1, channels: int | None = None) -> None:
        super().__init__()
        if isinstance(sigma, str):
            _checks.choice("sigma", sigma, self._KINDS)
        else:
            sigma = _checks.positive_number("sigma", sigma)
        init = _checks.positive_number("init", init)
        if channels is not None:
            channels = _checks.positive("channels", channels)
        if channels is not None and sigma != "learned":
            raise ValueError(f"channels: expected None unless sigma is 'learned', got {channels}")
        self.sigma = sigma
        self.channels = channels
        if sigma == "learned":
            self.log_sigma = nn.Parameter(torch.full(() if channels is None else (channels,), math.log(init)))

    def extra_repr(self) -> str:
        return f"sigma={self.sigma!r}"

    def mean(self, params: Tensor) -> Tensor:
        return self._loc_and_logvar(params)[0]

    def _loc_and_logvar(self, params: Tensor) -> tuple[Tensor, Tensor | float]:
        """Location, and log σ² in a shape that broadcasts against it."""
        _checks.tensor("params", params)
        if self.sigma == "decoder":
            if params.ndim < 2 or params.shape[1] % 2:
                raise ValueError(
                    "params: expected an even size along dimension 1 of the decoder's output (means, log-variances) "
                    "for sigma='decoder', "
                    f"got {tuple(params.shape)}"
                )
            loc, logvar = params.chunk(2, dim=1)
            return loc, logvar
        if self.sigma == "learned":
            logvar = 2 * self.log_sigma
            if self.channels is None:
                return params, logvar
            if params.ndim < 2 or params.shape[1] != self.channels:
                raise ValueError(
                    f"params: expected {self.channels} channels along dimension 1, got {tuple(params.shape)}"
                )
            return params, logvar.view(-1, *[1] * (params.ndim - 2))
        return params, 2 * math.log(float(self.sigma))

    def _gaussian_sample(self, params: Tensor, key: Tensor, element_offset: int) -> Tensor:
        loc, logvar = self._loc_and_logvar(params)
        _checks.key("key", key, device=loc.device)
        scale = torch.as_tensor(logvar, dtype=loc.dtype, device=loc.device).expand_as(loc)
        return functional.gaussian_rsample(loc, scale, key=key, element_offset=element_offset)


class GaussianLikelihood(_LocScaleLikelihood):
    """Independent Gaussians around the decoder's output.

    Parameters
    ----------
    sigma : float or {"learned", "decoder", "optimal"}
        Standard deviation: a fixed number; one learned parameter (or one a channel, see `channels`); given for every
        pixel by the decoder, whose output then holds means and log-variances along dimension 1; or the batch's optimum,
        σ² = mean squared error (σ-VAE: Rybkin et al. 2021).
    init : float
        The start of a learned σ.
    channels : int, optional
        For ``"learned"``: one σ for each of this many channels (dimension 1) in place of one for all.

    See Also
    --------
    genkern.gaussian_nll : the operation
    LaplaceLikelihood : the absolute error in place of the squared one

    Notes
    -----
    ``"optimal"``: training mode uses the batch's own σ and keeps a running mean of σ² in the ``state_dict``, which
    evaluation mode and frozen densities use, as batch normalisation does: a density of held-out data must not be fitted
    to them. A batch whose mean squared error is infinite or not a number leaves that mean as it was, and is not counted
    in it. Under ``torch.func.vmap`` it takes in the mean over what is mapped. The log-density is one of x on its own
    scale.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GaussianLikelihood
    >>> likelihood = GaussianLikelihood(sigma=1.0)
    >>> likelihood.log_prob(torch.zeros(2, 3), torch.zeros(2, 3))  # −3 · ½ log 2π
    tensor([-2.7568, -2.7568])
    """

    _KINDS = ("learned", "decoder", "optimal")
    running_variance: Tensor
    batches: Tensor

    def __init__(self, sigma: float | str = "learned", *, init: float = 0.1, channels: int | None = None) -> None:
        super().__init__(sigma, init=init, channels=channels)
        if sigma == "optimal":
            self.register_buffer("running_variance", torch.full((), float(init) ** 2))
            self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        loc, logvar = self._loc_and_logvar(params)
        check_data(x, loc, frozen)
        if self.sigma == "optimal" and self.training and not frozen:
            self._track(x, loc)
            return -functional.gaussian_nll(x, loc, "optimal")
        return -functional.gaussian_nll(x, loc, logvar)

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        return self._gaussian_sample(params, key, element_offset)

    def _loc_and_logvar(self, params: Tensor) -> tuple[Tensor, Tensor | float]:
        if self.sigma == "optimal":
            return params, self.running_variance.log()
        return super()._loc_and_logvar(params)

    def _track(self, x: Tensor, loc: Tensor) -> None:
        error = (x.to(_checks.compute_dtype(x, loc, self.running_variance)) - loc).detach().square()
        update_buffers(self, ("running_variance", "batches"), _average, _ordered.mean(error))


def _average(variance: Tensor, batches: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """A plain mean over the first batches, then an exponential one; one that is not finite would stay for good."""
    error = error.mean().to(variance.dtype)  # of several where vmap maps x; else there is one
    taken = error.isfinite()
    batches = batches + taken
    weight = (1.0 / batches).clamp(min=_SLOWEST_UPDATE).to(variance.dtype)
    return torch.where(taken, variance.lerp(error, weight), variance), batches


class LaplaceLikelihood(_LocScaleLikelihood):
    """Independent Laplace distributions around the decoder's output: the absolute error, in place of the squared one.

    Parameters
    ----------
    sigma : float or {"learned", "decoder"}
        The diversity b: a fixed number; one learned parameter (or one a channel, see `channels`); or given for every
        pixel by the decoder, whose output then holds locations and log b² along dimension 1.
    init, channels
        As `GaussianLikelihood`.

    See Also
    --------
    genkern.laplace_nll : the operation
    GaussianLikelihood : the squared error in place of the absolute one

    Notes
    -----
    The log-density is one of x on its own scale.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import LaplaceLikelihood
    >>> LaplaceLikelihood(sigma=1.0).log_prob(torch.zeros(1, 3), torch.zeros(1, 3))  # −3 log 2
    tensor([-2.0794])
    """

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        loc, logvar = self._loc_and_logvar(params)
        check_data(x, loc, frozen)
        return -functional.laplace_nll(x, loc, logvar)

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        loc, logvar = self._loc_and_logvar(params)
        diversity = torch.exp(0.5 * torch.as_tensor(logvar, dtype=torch.float32, device=loc.device))
        u = random.uniform(key, loc.shape, element_offset=element_offset).to(loc.device)
        u = u.clamp(min=_STEP)  # 0, whose logarithm is infinite, is drawn as well; 1 - _STEP is the largest
        # The inverse cdf, each half by the mass on its own side.
        standard = torch.where(u < 0.5, torch.log(2 * u), -torch.log(2 * (1 - u)))
        return (loc + diversity * standard).to(loc.dtype)


class DiscretizedGaussianLikelihood(_LocScaleLikelihood):
    """Independent Gaussians, rounded to grey levels: the probability of each pixel as the integer it was.

    Parameters
    ----------
    sigma, init, channels
        As `GaussianLikelihood`, of the Gaussian before the rounding; there is no ``"optimal"``.
    bins, low, high, cdf
        As in `genkern.discretized_gaussian_nll`; by default 256 levels from 0 to 1.

    See Also
    --------
    genkern.discretized_gaussian_nll : the operation
    DiscretizedLogisticMixtureLikelihood : several components a pixel

    Notes
    -----
    The log-probability is one of integers, so in bits a dimension it is what a code would take: no 8 bits are to be
    added, as for a density. `mean` is the Gaussian's, within the range.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import DiscretizedGaussianLikelihood
    >>> likelihood = DiscretizedGaussianLikelihood(sigma=1e-3)  # a quarter of a grey level
    >>> x = torch.tensor([[17 / 255]])
    >>> round(likelihood.log_prob(x, x).exp().item(), 4)
    0.9501
    """

    def __init__(
        self,
        sigma: float | str = "learned",
        *,
        init: float = 0.1,
        channels: int | None = None,
        bins: int = 256,
        low: float = 0.0,
        high: float = 1.0,
        cdf: str = "exact",
    ) -> None:
        super().__init__(sigma, init=init, channels=channels)
        self.bins, self.low, self.high = grey_levels(bins, low, high, cdf)
        self.cdf = cdf

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        loc, logvar = self._loc_and_logvar(params)
        check_data(x, loc, frozen)
        return -functional.discretized_gaussian_nll(
            x, loc, logvar, bins=self.bins, low=self.low, high=self.high, cdf=self.cdf
        )

    def mean(self, params: Tensor) -> Tensor:
        return super().mean(params).clamp(self.low, self.high)

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        step = (self.high - self.low) / (self.bins - 1)
        level = ((self._gaussian_sample(params, key, element_offset) - self.low) / step).round()
        return level.clamp(0, self.bins - 1) * step + self.low

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bins={self.bins}, low={self.low}, high={self.high}, cdf={self.cdf!r}"


class BernoulliLikelihood(Likelihood):
    """Independent Bernoulli variables; the decoder gives their logits.

    See Also
    --------
    genkern.bernoulli_nll : the operation
    DiscretizedGaussianLikelihood : for grey levels

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
        _checks.tensor("params", params)
        check_data(x, params, frozen)
        return -functional.bernoulli_nll(x, params)

    def mean(self, params: Tensor) -> Tensor:
        _checks.tensor("params", params)
        return params.sigmoid()

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        _checks.tensor("params", params)
        u = random.uniform(key, params.shape, element_offset=element_offset).to(params.device)
        probs = params.sigmoid()
        return torch.where(probs.isnan(), probs, (u < probs).to(params.dtype))


class DiscretizedLogisticMixtureLikelihood(Likelihood):
    """Pixels of grey levels or colours under a mixture of discretized logistics, as in PixelCNN++.

    Parameters
    ----------
    mixtures : int
        Components M.
    bins : int
        Grey levels of a channel.
    low, high : float
        The data's first and last level. Data are mapped to [-1, 1], the units of the decoder's means and scales.
    rgb_coupling : bool
        Whether the means of three colours depend on the colours before them.
    min_log_scale : float
        As in `genkern.discretized_logistic_mixture_nll`.

    See Also
    --------
    genkern.discretized_logistic_mixture_nll : the operation
    DiscretizedGaussianLikelihood : one Gaussian a pixel

    Notes
    -----
    The decoder gives `param_channels` values a pixel along dimension 1, in the order of
    `genkern.discretized_logistic_mixture_nll`; whether they are coupled shows in their number. The
    log-probability is one of integers: no 8 bits a dimension are to be added, as for a density. `mean` is that of the
    continuous mixture, kept within the range; `sample` gives levels.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import DiscretizedLogisticMixtureLikelihood
    >>> likelihood = DiscretizedLogisticMixtureLikelihood(mixtures=5)
    >>> likelihood.param_channels(3), likelihood.param_channels(1)
    (50, 15)
    >>> likelihood.log_prob(torch.rand(2, 3, 8, 8), torch.zeros(2, 50, 8, 8)).shape
    torch.Size([2])
    """

    def __init__(
        self,
        mixtures: int = 10,
        *,
        bins: int = 256,
        low: float = 0.0,
        high: float = 1.0,
        rgb_coupling: bool = True,
        min_log_scale: float = -7.0,
    ) -> None:
        super().__init__()
        self.mixtures = _checks.integer("mixtures", mixtures, minimum=1)
        self.bins, self.low, self.high = grey_levels(bins, low, high)
        self.rgb_coupling = _checks.boolean("rgb_coupling", rgb_coupling)
        self.min_log_scale = _checks.number("min_log_scale", min_log_scale)

    def param_channels(self, channels: int) -> int:
        """How many channels the decoder of data with so many channels has."""
        channels = _checks.positive("channels", channels)
        return self.mixtures * (10 if self.rgb_coupling and channels == 3 else 1 + 2 * channels)

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        options = self._options(params)
        colours = colours_of(params, self.mixtures, 1, options["rgb_coupling"])
        check_data(x, params[:, :1].expand(-1, colours, *params.shape[2:]), frozen)
        units = (x - self.low) * (2 / (self.high - self.low)) - 1
        return -functional.discretized_logistic_mixture_nll(units, params, bins=self.bins, **options)

    def mean(self, params: Tensor) -> Tensor:
        coupled = self._options(params)["rgb_coupling"]
        colours_of(params, self.mixtures, 1, coupled)
        logits, means, _, coefficients = unpack(params, self.mixtures, 1, coupled)
        if coupled:  # linear in the colours before, so means follow means
            red, by = means[0], torch.tanh(coefficients)
            green = means[1] + by[0] * red
            means = torch.stack((red, green, means[2] + by[1] * red + by[2] * green))
        mean = (torch.softmax(logits, 0) * means).sum(1).clamp(-1, 1)
        return self._to_data(mean.movedim(0, 1))

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        units = functional.discretized_logistic_mixture_sample(
            params, key=key, element_offset=element_offset, **self._options(params)
        )
        level = ((units + 1) * ((self.bins - 1) / 2)).round()
        return self.low + level * ((self.high - self.low) / (self.bins - 1))

    def extra_repr(self) -> str:
        return (
            f"mixtures={self.mixtures}, bins={self.bins}, low={self.low}, high={self.high}, "
            f"rgb_coupling={self.rgb_coupling}, min_log_scale={self.min_log_scale}"
        )

    def _options(self, params: Tensor) -> dict[str, Any]:
        # Without coupling there are M (1 + 2 C) parameters, for no C ten times M.
        _checks.tensor("params", params)
        if params.ndim < 2:
            raise ValueError(f"params: expected channels along dimension 1, got {tuple(params.shape)}")
        coupled = params.shape[1] == 10 * self.mixtures
        return {"mixtures": self.mixtures, "rgb_coupling": coupled, "min_log_scale": self.min_log_scale}

    def _to_data(self, units: Tensor) -> Tensor:
        return self.low + (units + 1) * ((self.high - self.low) / 2)


LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "gaussian": GaussianLikelihood,
    "bernoulli": BernoulliLikelihood,
    "laplace": LaplaceLikelihood,
    "discretized_gaussian": DiscretizedGaussianLikelihood,
    "discretized_logistic": DiscretizedLogisticMixtureLikelihood,
    "poisson": PoissonLikelihood,
    "negative_binomial": NegativeBinomialLikelihood,
    "zero_inflated_negative_binomial": partial(NegativeBinomialLikelihood, zero_inflated=True),
}
"""Likelihoods by name, as ``VAE(..., likelihood="bernoulli")`` takes them; an entry of your own is a name more."""


def make_likelihood(likelihood: str | Likelihood) -> Likelihood:
    """The likelihood of that name in `LIKELIHOODS`, with its defaults; an instance is returned as it is.

    See Also
    --------
    LIKELIHOODS : the names
    VAE : takes a name or an instance

    Examples
    --------
    >>> from genkern.nn import make_likelihood
    >>> make_likelihood("bernoulli")
    BernoulliLikelihood()
    """
    if isinstance(likelihood, Likelihood):
        return likelihood
    if not isinstance(likelihood, str):
        raise TypeError(f"likelihood: expected a name or a Likelihood, got {type(likelihood).__name__}")
    _checks.choice("likelihood", likelihood, tuple(LIKELIHOODS))
    return LIKELIHOODS[likelihood]()
