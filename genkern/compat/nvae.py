"""The normal distribution of NVAE (Vahdat & Kautz 2020, ``distributions.py``): its attributes and methods."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genkern import functional, random
from genkern.compat._lazy import Lazy, LazyAttributes, wide

__all__ = ["Normal"]


class Normal(LazyAttributes):
    """N(5 tanh(mu / 5), σ²) with σ = temp · (exp(5 tanh(log_sigma / 5)) + 0.01), element by element.

    Parameters
    ----------
    mu, log_sigma : Tensor
        Two shapes that broadcast, before the soft clamp to ±5.
    temp : float
        Multiplies σ.

    Notes
    -----
    Attributes ``mu`` (clamped) and ``sigma``, made when asked for; what is assigned to them acts. The noise of
    ``sample`` is genkern's, from torch's default generator. Densities and divergences are float32 or wider, in nats.

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.nvae import Normal
    >>> q, p = Normal(torch.ones(2), torch.zeros(2)), Normal(torch.zeros(2), torch.zeros(2))
    >>> q.kl(p)
    tensor([0.4774, 0.4774])
    """

    mu: Any

    def __init__(self, mu: Tensor, log_sigma: Tensor, temp: float = 1.0) -> None:
        super().__init__()
        self._keep("mu", _soft_clamp5(mu))
        self._temp = temp
        self._log_sigma = log_sigma

    @Lazy
    def sigma(self) -> Tensor:
        """Standard deviation."""
        sigma = torch.exp(_soft_clamp5(self._log_sigma)) + 1e-2
        return sigma if self._temp == 1.0 else sigma * self._temp

    def sample(self) -> tuple[Tensor, Tensor]:
        """A sample, with gradients to the parameters, and its noise."""
        key = random.reserve(device=self.mu.device)
        if not self._has_moments():
            eps = random.normal(key, self.mu.shape, dtype=self.mu.dtype)
            return self.sample_given_eps(eps), eps
        scale, options = self._scale
        z = functional.gaussian_rsample(self.mu, scale, key=key, **options)
        return z, random.normal(key, z.shape, dtype=z.dtype)

    def sample_given_eps(self, eps: Tensor) -> Tensor:
        """The sample of that noise."""
        if not self._has_moments():
            return eps * self.sigma + self.mu
        scale, options = self._scale
        return functional.gaussian_rsample(self.mu, scale, eps=eps, **options)

    def log_p(self, samples: Tensor) -> Tensor:
        """Log density of each element."""
        if not self._has_moments():
            mu, sigma = wide(self.mu), wide(self.sigma)
            return -0.5 * ((wide(samples) - mu) / sigma) ** 2 - 0.5 * math.log(2 * math.pi) - torch.log(sigma)
        scale, options = self._scale
        return functional.gaussian_log_prob(samples, self.mu, scale, reduction="none", **options)

    def kl(self, normal_dist: Normal) -> Tensor:
        """KL(self ‖ normal_dist) of each element."""
        if not (self._has_moments() and isinstance(normal_dist, Normal) and normal_dist._has_moments()):
            mu, sigma = wide(self.mu), wide(self.sigma)
            prior_mu, prior_sigma = wide(normal_dist.mu), wide(normal_dist.sigma)
            ratio = sigma / prior_sigma
            return 0.5 * (((mu - prior_mu) / prior_sigma) ** 2 + ratio * ratio) - 0.5 - torch.log(ratio)
        if self._temp == normal_dist._temp == 1.0:
            scale, options = self._scale
            other = normal_dist._log_sigma
        else:
            scale, other, options = self.sigma, normal_dist.sigma, {"scale_param": "std"}
        return functional.gaussian_kl(self.mu, scale, normal_dist.mu, other, reduction="none", **options)

    def _has_moments(self) -> bool:
        return self._as_made("mu", "sigma")

    @property
    def _scale(self) -> tuple[Tensor, dict[str, Any]]:
        """The scale that the operations take: the raw one where they make σ of it themselves."""
        if self._temp != 1.0:
            return self.sigma, {"scale_param": "std"}
        soft = {"clamp": (-5.0, 5.0), "clamp_mode": "tanh"}
        return self._log_sigma, {"scale_param": "logstd", "scale_offset": 1e-2, **soft}


def _soft_clamp5(x: Tensor) -> Tensor:
    return 5.0 * torch.tanh(x / 5.0)
