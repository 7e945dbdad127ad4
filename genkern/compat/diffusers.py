"""Latent distributions of diffusers' autoencoders, by the fused operations.

``patch()`` puts them where diffusers has its own, in every module that imported them; ``unpatch()`` takes them out
again; ``with patch(): ...`` does both. Tested with diffusers 0.42. What differs in numbers: the noise is genkern's (one
key drawn from the generator), and divergences and likelihoods are float32 or wider.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import functional, random
from genkern.compat._lazy import Lazy, LazyAttributes, wide
from genkern.compat._patching import Patch, Switch
from genkern.functional._noise import Generators

__all__ = ["DiagonalGaussianDistribution", "OobleckDiagonalGaussianDistribution", "patch", "unpatch"]


class _Packed(LazyAttributes):
    """A Gaussian whose parameters lie side by side along dimension 1."""

    mean: Any
    parameters: Any
    std: Any
    var: Any
    logvar: Any
    legacy = False
    _sigma: dict[str, Any]
    _certain = False

    def __init__(self, parameters: Tensor, deterministic: bool = False) -> None:
        super().__init__()
        mean, self._raw = parameters.chunk(2, dim=1)
        self._keep("parameters", parameters)
        self._keep("mean", mean)
        self._certain = self.deterministic = deterministic

    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    def _sample(self, generator: Generators | None) -> Tensor:
        if self._has_spread():
            return self._draw(generator, self.mean, self._raw, **self._sigma)
        origin = torch.zeros(self.mean.shape, dtype=self.parameters.dtype, device=self.parameters.device)
        return self.mean + self.std * self._draw(generator, origin, origin.new_zeros(()))

    def _draw(self, generator: Generators | None, loc: Tensor, scale: Tensor, **sigma: Any) -> Tensor:
        if isinstance(generator, list) and len(generator) == 1:
            generator = generator[0]
        noise: dict[str, Any] = {"generator": generator}
        if isinstance(generator, torch.Generator) and generator.device != loc.device:
            noise = {"key": random.reserve(generator).to(loc.device)}
        return functional.gaussian_rsample(loc, scale, **noise, **sigma)

    def _knows(self, other: Any) -> bool:
        """Whether the fused divergence is that from `other`: both have the moments that they were made with."""
        if other is None:
            return self._has_moments()
        same = isinstance(other, _Packed) and other._sigma is self._sigma
        return same and self._has_moments() and other._has_moments()

    def _fused_kl(self, other: Any, reduction: str) -> Tensor:
        prior = (None, None) if other is None else (other.mean, other._raw)
        return functional.gaussian_kl(self.mean, self._raw, *prior, reduction=reduction, **self._sigma)

    def _has_spread(self) -> bool:
        """Whether a sample is one of what the distribution was made of."""
        return self._as_made("parameters", "mean", "std")

    def _has_moments(self) -> bool:
        return self._as_made("mean", "var", "logvar")


class DiagonalGaussianDistribution(_Packed):
    """diffusers' ``DiagonalGaussianDistribution``: N(mean, exp(logvar)) of packed moments.

    Parameters
    ----------
    parameters : Tensor
        ``[B, 2C, ...]``: means, then log variances, which are bounded to [-30, 20].
    deterministic : bool
        No spread: samples are the mean, divergences and likelihoods 0.

    See Also
    --------
    genkern.compat.diffusers.patch : the same in every model of diffusers
    genkern.distributions.DiagonalGaussian : with torch's names

    Notes
    -----
    Attributes are diffusers': ``parameters``, ``mean``, ``logvar``, ``std``, ``var``, ``deterministic``; what is not
    asked for is not computed. What is assigned to one of them, or written into it, acts as there: ``sample`` takes
    `mean` and `std` as they are, ``kl`` and ``nll`` `mean`, `var` and `logvar`. `parameters` have to stay as they are.
    ``sample`` takes a generator, one of another device, or a list with one for each row.

    ``kl`` and ``nll`` sum over all dimensions but the first, whatever their number; diffusers sums over dimensions 1, 2
    and 3 even for videos ``[B, C, T, H, W]``, where it leaves the last one standing. A subclass with ``legacy = True``,
    which ``patch(legacy=True)`` uses, does so too. Source: Rombach et al. 2022; Kingma & Welling 2014, appendix B.

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.diffusers import DiagonalGaussianDistribution
    >>> posterior = DiagonalGaussianDistribution(torch.zeros(2, 8, 4, 4))
    >>> posterior.sample(torch.Generator().manual_seed(0)).shape, posterior.kl()
    (torch.Size([2, 4, 4, 4]), tensor([0., 0.]))
    """

    _sigma = {"clamp": (-30.0, 20.0)}  # noqa: RUF012

    @Lazy
    def logvar(self) -> Tensor:
        """Bounded log variance."""
        return self._raw.clamp(-30.0, 20.0)

    @Lazy
    def std(self) -> Tensor:
        """Standard deviation; 0 where made deterministic."""
        return self._nothing if self._certain else torch.exp(0.5 * self._raw.clamp(-30.0, 20.0))

    @Lazy
    def var(self) -> Tensor:
        """Variance; 0 where made deterministic."""
        return self._nothing if self._certain else torch.exp(self._raw.clamp(-30.0, 20.0))

    @Lazy
    def _nothing(self) -> Tensor:
        """One tensor for both, as in diffusers."""
        return torch.zeros_like(self._raw)

    def sample(self, generator: Generators | None = None) -> Tensor:
        """A sample ``[B, C, ...]`` in the parameters' dtype, with gradients to them."""
        if self._certain and super()._has_spread() and self._as_made("_nothing"):
            return self.mean.clone()
        return self._sample(generator)

    def kl(self, other: Any = None) -> Tensor:
        """KL from `other`, N(0, I) by default: ``[B]`` in nats; ``tensor([0.])`` where deterministic."""
        if self.deterministic:
            return torch.zeros(1)
        if self._knows(other):
            by_element = self.legacy and self.mean.dim() != 4
            kl = self._fused_kl(other, "none" if by_element else "event")
            return kl.sum(dim=[1, 2, 3]) if by_element else kl
        mean, var, logvar = _parameters(self)
        if other is None:
            twice = mean**2 + var - 1.0 - logvar
        else:
            prior_mean, prior_var, prior_logvar = _parameters(other)
            twice = (mean - prior_mean) ** 2 / prior_var + var / prior_var - 1.0 - logvar + prior_logvar
        return 0.5 * twice.sum(dim=[1, 2, 3] if self.legacy else list(range(1, twice.dim())))

    def nll(self, sample: Tensor, dims: int | Sequence[int] | None = None) -> Tensor:
        """−log density of `sample`, summed over `dims`: all but the first by default."""
        if self.deterministic:
            return torch.zeros(1)
        if dims is None:
            dims = (1, 2, 3) if self.legacy else range(1, sample.dim())
        elif isinstance(dims, int):
            dims = (dims,)
        if not self._has_moments():
            mean, var, logvar = _parameters(self)
            nll = 0.5 * (math.log(2 * math.pi) + logvar + (wide(sample) - mean) ** 2 / var)
            return nll.sum(dim=list(dims))
        whole = sorted(d % sample.dim() for d in dims) == list(range(1, sample.dim()))
        nll = functional.gaussian_nll(
            sample, self.mean, self._raw, reduction="event" if whole else "none", **self._sigma
        )
        return nll if whole else nll.sum(dim=list(dims))

    def _has_spread(self) -> bool:
        return not self._certain and super()._has_spread()

    def _has_moments(self) -> bool:
        return not self._certain and super()._has_moments()


class _Legacy(DiagonalGaussianDistribution):
    legacy = True


class OobleckDiagonalGaussianDistribution(_Packed):
    """diffusers' ``OobleckDiagonalGaussianDistribution``: std = softplus(scale) + 1e-4, for audio ``[B, 2C, L]``.

    See Also
    --------
    genkern.compat.diffusers.patch : the same in every model of diffusers

    Notes
    -----
    Attributes are diffusers': ``parameters``, ``mean``, ``scale``, ``std``, ``var``, ``logvar``, ``deterministic``;
    what is assigned to them acts as there, see `DiagonalGaussianDistribution`.
    ``kl`` keeps its convention, twice the divergence, summed over channels and averaged over all else. Against another
    distribution diffusers adds log(var / other.var) where the divergence has it subtracted; ``legacy = True`` in a
    subclass, which ``patch(legacy=True)`` uses, adds it too. Source: Evans et al. 2024, "Stable Audio Open".

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.diffusers import OobleckDiagonalGaussianDistribution
    >>> OobleckDiagonalGaussianDistribution(torch.zeros(2, 8, 16)).kl()
    tensor(0.8533)
    """

    _sigma = {"scale_param": "softplus", "scale_offset": 1e-4}  # noqa: RUF012

    def __init__(self, parameters: Tensor, deterministic: bool = False) -> None:
        super().__init__(parameters, deterministic)
        self.scale = self._raw

    @Lazy
    def std(self) -> Tensor:
        """Standard deviation."""
        return torch.nn.functional.softplus(self._raw) + 1e-4

    @Lazy
    def var(self) -> Tensor:
        """Variance."""
        return (torch.nn.functional.softplus(self._raw) + 1e-4).square()

    @Lazy
    def logvar(self) -> Tensor:
        """Log variance."""
        return 2 * torch.log(torch.nn.functional.softplus(self._raw) + 1e-4)

    def sample(self, generator: Generators | None = None) -> Tensor:
        """A sample ``[B, C, L]`` in the parameters' dtype, with gradients to them."""
        return self._sample(generator)

    def kl(self, other: Any = None) -> Tensor:
        """Twice the divergence, summed over channels, its mean over all else: a scalar; 0 where deterministic."""
        if self.deterministic:
            return torch.zeros(1)
        if self._knows(other):
            kl = 2 * self.mean.shape[1] * self._fused_kl(other, "mean")
            return kl + 2 * (self.logvar - other.logvar).sum(1).mean() if self.legacy and other is not None else kl
        mean, var, logvar = _parameters(self)
        if other is None:
            twice = mean * mean + var - logvar - 1.0
        else:
            prior_mean, prior_var, prior_logvar = _parameters(other)
            log_ratio = (logvar - prior_logvar) * (1 if self.legacy else -1)
            twice = (mean - prior_mean) ** 2 / prior_var + var / prior_var + log_ratio - 1
        return twice.sum(1).mean()


class _LegacyOobleck(OobleckDiagonalGaussianDistribution):
    legacy = True


def _parameters(distribution: Any) -> tuple[Any, Any, Any]:
    """The attributes of a distribution, in the type of losses."""
    return wide(distribution.mean), wide(distribution.var), wide(distribution.logvar)


def _patch(legacy: bool) -> Patch:
    gaussian = _Legacy if legacy else DiagonalGaussianDistribution
    oobleck = _LegacyOobleck if legacy else OobleckDiagonalGaussianDistribution
    return Patch(
        {
            ("diffusers.models.autoencoders.vae", "DiagonalGaussianDistribution"): gaussian,
            ("diffusers.models.autoencoders.autoencoder_oobleck", "OobleckDiagonalGaussianDistribution"): oobleck,
        }
    )


_switch = Switch(_patch)
patch, unpatch = _switch.patch, _switch.unpatch
