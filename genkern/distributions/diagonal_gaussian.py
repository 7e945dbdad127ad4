"""A diagonal Gaussian over whole events: the posterior of a variational autoencoder."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.distribution import Distribution
from torch.distributions.utils import broadcast_all, lazy_property
from torch.types import _size

from genkern import functional
from genkern.distributions._values import VALIDATE, floating, normal_cdf, normal_icdf
from genkern.functional._noise import Generators
from genkern.functional._scale import Clamp

__all__ = ["DiagonalGaussian"]


class DiagonalGaussian(Distribution):
    """N(loc, diag σ²) whose densities, entropies and divergences are sums over an event.

    Parameters
    ----------
    loc, scale : Tensor
        Two shapes that broadcast. `scale_param` says what `scale` holds: an encoder's output goes in as it is.
    scale_param, scale_offset, clamp, clamp_mode
        See `genkern.functional`.
    event_ndim : int, optional
        How many trailing dimensions one datum spans; default all but the first.
    validate_args : bool, optional
        Whether arguments and values are checked, which waits for the device; default no.

    See Also
    --------
    genkern.distributions.Normal : element by element, as torch has it
    genkern.gaussian_rsample_kl : a sample and its divergence in one pass

    Notes
    -----
    Lazy: σ is made where it is asked for (``stddev``, ``variance``), the operations need none. ``rsample``, ``sample``
    and ``rsample_kl`` take ``key``, ``generator`` or ``eps`` as `genkern.gaussian_rsample` does.
    ``kl_divergence`` is registered with itself and with ``Independent`` normals. Source: Kingma & Welling 2014,
    appendix B.

    Examples
    --------
    >>> import torch, genkern as gk
    >>> from genkern.distributions import DiagonalGaussian
    >>> q = DiagonalGaussian(torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8))
    >>> q.batch_shape, q.event_shape
    (torch.Size([2]), torch.Size([4, 8, 8]))
    >>> z, kl = q.rsample_kl(key=gk.random.key(0))
    >>> z.shape, kl
    (torch.Size([2, 4, 8, 8]), tensor([0., 0.]))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {"loc": constraints.real, "scale": constraints.real}
    has_rsample = True

    _validate_args = VALIDATE

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        *,
        scale_param: str = "logvar",
        scale_offset: float = 0.0,
        clamp: Clamp | None = None,
        clamp_mode: str = "hard",
        event_ndim: int | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        self._sigma: dict[str, Any] = {
            "scale_param": scale_param,
            "scale_offset": scale_offset,
            "clamp": clamp,
            "clamp_mode": clamp_mode,
        }
        shape = self.loc.shape
        spans = max(len(shape) - 1, 0) if event_ndim is None else event_ndim
        if not 0 <= spans <= len(shape):
            raise ValueError(f"event_ndim: expected a number from 0 to {len(shape)}, got {event_ndim}")
        first = len(shape) - spans
        super().__init__(shape[:first], shape[first:], validate_args=validate_args)

    def expand(self, batch_shape: _size, _instance: Any = None) -> DiagonalGaussian:
        """The same distribution with a larger batch shape; nothing is copied."""
        new = self._get_checked_instance(DiagonalGaussian, _instance)
        batch_shape = torch.Size(batch_shape)
        shape = batch_shape + self.event_shape
        new.loc, new.scale = self.loc.expand(shape), self.scale.expand(shape)
        new._sigma = self._sigma
        super(DiagonalGaussian, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> Any:
        """All real numbers, checked an event at a time."""
        return constraints.independent(constraints.real, len(self.event_shape))

    @property
    def mean(self) -> Tensor:
        """loc"""
        return self.loc

    mode = mean

    @lazy_property
    def stddev(self) -> Tensor:
        """σ, in the arguments' dtype."""
        return functional.gaussian_rsample(
            torch.zeros_like(self.loc), self.scale, eps=torch.ones_like(self.loc), **self._sigma
        )

    @property
    def variance(self) -> Tensor:
        """σ²"""
        return self.stddev.square()

    def rsample(
        self,
        sample_shape: _size = (),
        *,
        key: Tensor | None = None,
        generator: Generators | None = None,
        eps: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """A sample ``[*sample_shape, *batch_shape, *event_shape]`` with gradients to loc and scale."""
        return functional.gaussian_rsample(
            self.loc,
            self.scale,
            sample_shape=tuple(sample_shape),
            temperature=temperature,
            key=key,
            generator=generator,
            eps=eps,
            **self._sigma,
        )

    def sample(
        self,
        sample_shape: _size = (),
        *,
        key: Tensor | None = None,
        generator: Generators | None = None,
        eps: Tensor | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """`rsample` without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape, key=key, generator=generator, eps=eps, temperature=temperature)

    def rsample_kl(
        self,
        prior: DiagonalGaussian | None = None,
        *,
        key: Tensor | None = None,
        generator: Generators | None = None,
        eps: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """A sample and KL(self ‖ prior), N(0, I) by default, in one pass: ``[*batch, *event]`` and ``[*batch]``."""
        loc, scale, sigma = self.loc, self.scale, self._sigma
        prior_loc = prior_scale = None
        if prior is not None:
            loc, scale, prior_loc, prior_scale, sigma = self.beside(prior)
        return functional.gaussian_rsample_kl(
            loc,
            scale,
            prior_loc,
            prior_scale,
            key=key,
            generator=generator,
            eps=eps,
            event_ndim=len(self.event_shape),
            **sigma,
        )

    def beside(self, other: DiagonalGaussian) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """The parameters of both as one operation takes them: one meaning of scale, σ itself where theirs differ."""
        if self.event_shape != other.event_shape:
            raise ValueError(f"event_shape: expected {tuple(self.event_shape)}, got {tuple(other.event_shape)}")
        if self._sigma == other._sigma:
            return self.loc, self.scale, other.loc, other.scale, self._sigma
        return self.loc, self.stddev, other.loc, other.stddev, {"scale_param": "std"}

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of each datum of `value`."""
        if self._validate_args:
            self._validate_sample(value)
        return functional.gaussian_log_prob(
            floating(value, self.loc), self.loc, self.scale, event_ndim=len(self.event_shape), **self._sigma
        )

    def entropy(self) -> Tensor:
        """Σ ½ (1 + log 2πσ²) over an event, in nats."""
        return functional.gaussian_entropy(self.scale, event_ndim=len(self.event_shape), **self._sigma)

    def cdf(self, value: Tensor) -> Tensor:
        """The share of each dimension that lies below `value`, one dimension at a time."""
        if self._validate_args:
            self._validate_sample(value)
        return normal_cdf(value, self.loc, self.stddev)

    def icdf(self, value: Tensor) -> Tensor:
        """The value of each dimension below which a share of `value` lies."""
        return normal_icdf(value, self.loc, self.stddev)
