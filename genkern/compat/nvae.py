"""The normal distribution of NVAE (Vahdat & Kautz 2020, ``distributions.py``): its attributes and methods."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from genkern import functional, random

__all__ = ["Normal"]


class Normal:
    """N(5 tanh(mu / 5), σ²) with σ = temp · (exp(5 tanh(log_sigma / 5)) + 0.01), element by element.

    Parameters
    ----------
    mu, log_sigma : Tensor
        Of shapes that broadcast, before the soft clamp to ±5.
    temp : float
        Multiplies σ.

    Notes
    -----
    Attributes ``mu`` (clamped) and ``sigma``, made when asked for. The noise of ``sample`` is genkern's, from torch's
    default generator. Densities and divergences are float32 or wider, in nats.

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.nvae import Normal
    >>> q, p = Normal(torch.ones(2), torch.zeros(2)), Normal(torch.zeros(2), torch.zeros(2))
    >>> q.kl(p)
    tensor([0.4774, 0.4774])
    """

    def __init__(self, mu: Tensor, log_sigma: Tensor, temp: float = 1.0) -> None:
        self.mu = _soft_clamp5(mu)
        self.temp = temp
        self._log_sigma = log_sigma

    @cached_property
    def sigma(self) -> Tensor:
        """Standard deviation."""
        sigma = torch.exp(_soft_clamp5(self._log_sigma)) + 1e-2
        return sigma if self.temp == 1.0 else sigma * self.temp

    def sample(self) -> tuple[Tensor, Tensor]:
        """A sample, with gradients to the parameters, and its noise."""
        key = random.reserve(device=self.mu.device)
        scale, options = self._scale
        z = functional.gaussian_rsample(self.mu, scale, key=key, **options)
        return z, random.normal(key, z.shape, dtype=z.dtype)

    def sample_given_eps(self, eps: Tensor) -> Tensor:
        """The sample of that noise."""
        scale, options = self._scale
        return functional.gaussian_rsample(self.mu, scale, eps=eps, **options)

    def log_p(self, samples: Tensor) -> Tensor:
        """Log density of each element."""
        scale, options = self._scale
        return functional.gaussian_log_prob(samples, self.mu, scale, reduction="none", **options)

    def kl(self, normal_dist: Normal) -> Tensor:
        """KL(self ‖ normal_dist) of each element."""
        if self.temp == normal_dist.temp == 1.0:
            scale, options = self._scale
            other = normal_dist._log_sigma
        else:
            scale, other, options = self.sigma, normal_dist.sigma, {"scale_param": "std"}
        return functional.gaussian_kl(self.mu, scale, normal_dist.mu, other, reduction="none", **options)

    @property
    def _scale(self) -> tuple[Tensor, dict[str, Any]]:
        """What the operations take for σ: the raw scale where they make σ of it themselves."""
        if self.temp != 1.0:
            return self.sigma, {"scale_param": "std"}
        soft = {"clamp": (-5.0, 5.0), "clamp_mode": "tanh"}
        return self._log_sigma, {"scale_param": "logstd", "scale_offset": 1e-2, **soft}


def _soft_clamp5(x: Tensor) -> Tensor:
    return 5.0 * torch.tanh(x / 5.0)
