"""Latent distributions of diffusers' autoencoders, by the fused operations.

``patch()`` puts them where diffusers has its own, in every module that imported them; ``unpatch()`` takes them out
again; ``with patch(): ...`` does both. Tested with diffusers 0.42. What differs in numbers: the noise is genkern's (one
key drawn from the generator), and divergences and likelihoods are float32 or wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from genkern import functional, random
from genkern.compat._patching import Applied, Patch, Switch

__all__ = ["DiagonalGaussianDistribution", "OobleckDiagonalGaussianDistribution", "patch", "unpatch"]

Generators = torch.Generator | list[torch.Generator]


class _Packed:
    """A Gaussian whose parameters lie side by side along dimension 1."""

    _sigma: dict[str, Any]

    def __init__(self, parameters: Tensor, deterministic: bool = False) -> None:
        self.parameters = parameters
        self.deterministic = deterministic
        self.mean, self._raw = parameters.chunk(2, dim=1)

    def mode(self) -> Tensor:
        """The mean."""
        return self.mean

    def _draw(self, generator: Generators | None) -> Tensor:
        if isinstance(generator, list) and len(generator) == 1:
            generator = generator[0]
        noise: dict[str, Any] = {"generator": generator}
        if isinstance(generator, torch.Generator) and generator.device != self.mean.device:
            noise = {"key": random.reserve(generator).to(self.mean.device)}
        return functional.gaussian_rsample(self.mean, self._raw, **noise, **self._sigma)


class DiagonalGaussianDistribution(_Packed):
    """diffusers' ``DiagonalGaussianDistribution``: N(mean, exp(logvar)) of packed moments.

    Parameters
    ----------
    parameters : Tensor
        ``[B, 2C, ...]``: means, then log variances, which are bounded to [-30, 20].
    deterministic : bool
        No spread: samples are the mean, divergences and likelihoods 0.

    Notes
    -----
    Attributes are diffusers': ``parameters``, ``mean``, ``logvar``, ``std``, ``var``, ``deterministic``; what is not
    asked for is not computed. ``sample`` takes a generator, one of another device, or a list with one for each row.
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

    legacy = False
    _sigma = {"clamp": (-30.0, 20.0)}  # noqa: RUF012

    @cached_property
    def logvar(self) -> Tensor:
        """Bounded log variance."""
        return self._raw.clamp(-30.0, 20.0)

    @cached_property
    def std(self) -> Tensor:
        """Standard deviation; 0 where deterministic."""
        return torch.zeros_like(self.mean) if self.deterministic else torch.exp(0.5 * self.logvar)

    @cached_property
    def var(self) -> Tensor:
        """Variance; 0 where deterministic."""
        return torch.zeros_like(self.mean) if self.deterministic else torch.exp(self.logvar)

    def sample(self, generator: Generators | None = None) -> Tensor:
        """A sample ``[B, C, ...]`` in the parameters' dtype, with gradients to them."""
        return self.mean.clone() if self.deterministic else self._draw(generator)

    def kl(self, other: Any = None) -> Tensor:
        """KL from `other`, N(0, I) by default: ``[B]`` in nats; ``tensor([0.])`` where deterministic."""
        if self.deterministic:
            return torch.zeros(1)
        prior = (None, None) if other is None else (other.mean, getattr(other, "_raw", other.logvar))
        kl = functional.gaussian_kl(self.mean, self._raw, *prior, reduction=self._reduction(), **self._sigma)
        return kl.sum(dim=[1, 2, 3]) if self._reduction() == "none" else kl

    def nll(self, sample: Tensor, dims: Sequence[int] | None = None) -> Tensor:
        """−log density of `sample`, summed over `dims`: all but the first by default."""
        if self.deterministic:
            return torch.zeros(1)
        if dims is None and self.legacy:
            dims = (1, 2, 3)
        whole = dims is None or sorted(d % sample.dim() for d in dims) == list(range(1, sample.dim()))
        nll = functional.gaussian_nll(
            sample, self.mean, self._raw, reduction="event" if whole else "none", **self._sigma
        )
        return nll if whole else nll.sum(dim=list(dims or ()))

    def _reduction(self) -> str:
        return "none" if self.legacy and self.mean.dim() != 4 else "event"


class _Legacy(DiagonalGaussianDistribution):
    legacy = True


class OobleckDiagonalGaussianDistribution(_Packed):
    """diffusers' ``OobleckDiagonalGaussianDistribution``: std = softplus(scale) + 1e-4, for audio ``[B, 2C, L]``.

    Notes
    -----
    Attributes are diffusers': ``parameters``, ``mean``, ``scale``, ``std``, ``var``, ``logvar``, ``deterministic``.
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

    legacy = False
    _sigma = {"scale_param": "softplus", "scale_offset": 1e-4}  # noqa: RUF012

    @property
    def scale(self) -> Tensor:
        """As it came, before softplus."""
        return self._raw

    @cached_property
    def std(self) -> Tensor:
        """Standard deviation."""
        return torch.nn.functional.softplus(self.scale) + 1e-4

    @cached_property
    def var(self) -> Tensor:
        """Variance."""
        return self.std * self.std

    @cached_property
    def logvar(self) -> Tensor:
        """Log variance."""
        return torch.log(self.var)

    def sample(self, generator: Generators | None = None) -> Tensor:
        """A sample ``[B, C, L]`` in the parameters' dtype, with gradients to them."""
        return self._draw(generator)

    def kl(self, other: Any = None) -> Tensor:
        """Twice the divergence, summed over channels, its mean over all else: a scalar; 0 where deterministic."""
        if self.deterministic:
            return torch.zeros(1)
        prior = (None, None) if other is None else (other.mean, other.scale)
        kl = functional.gaussian_kl(self.mean, self.scale, *prior, reduction="mean", **self._sigma)
        kl = 2 * self.mean.shape[1] * kl
        if self.legacy and other is not None:
            kl = kl + 2 * (self.logvar - other.logvar).sum(1).mean()
        return kl


class _LegacyOobleck(OobleckDiagonalGaussianDistribution):
    legacy = True


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


def patch(*, legacy: bool = False) -> Applied:
    """Put the distributions of this module where diffusers has its own, in every module that imported them.

    Parameters
    ----------
    legacy : bool
        With diffusers' own reductions, see the classes' notes.

    Returns
    -------
    Applied
        A context manager: ``with patch(): ...`` ends with the block. Without ``with``, :func:`unpatch` ends it. Where
        it is in force, it changes nothing, and an inner block leaves it in force.

    Raises
    ------
    ImportError
        diffusers is not installed.
    ValueError
        It is in force with the other `legacy`.
    """
    return _switch.on(legacy)


def unpatch() -> None:
    """diffusers' own distributions again; nothing where :func:`patch` is not in force."""
    _switch.off()
