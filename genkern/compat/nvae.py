"""The distributions of NVAE (Vahdat & Kautz 2020, ``distributions.py``): their attributes and methods.

::

    from genkern.compat import nvae as fused
    with fused.patch(model):  # or fused.patch(model) once, and fused.unpatch()
        logits, log_q, log_p, kl_all, kl_diag = model(x)
        log_p_x = model.decoder_output(logits).log_prob(x)

or, for code of one's own, ``Normal`` in place of NVAE's.

In a patched model the groups draw z and take densities and divergences by the fused operations, and the mixture of the
output is scored and drawn by them. NVAE adds the parameters of prior and residual before its soft clamp, so q is a
normal of these sums, not `genkern.gaussian_residual_rsample_kl`'s product of scales.

Signatures, reductions and results are NVAE's, and so are checkpoints. What differs in numbers: the noise is genkern's,
and masses of bins below 1e-5, for which NVAE takes the density at the middle, are exact. As in NVAE, the last two of
256 bins both reach to infinity.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor

from genkern import functional, random
from genkern.compat._lazy import Lazy, LazyAttributes, wide
from genkern.compat._patching import ModelSwitch, Patch, defining

__all__ = ["Normal", "patch", "unpatch"]


class Normal(LazyAttributes):
    """N(5 tanh(mu / 5), σ²) with σ = temp · (exp(5 tanh(log_sigma / 5)) + 0.01), element by element.

    Parameters
    ----------
    mu, log_sigma : Tensor
        Two shapes that broadcast, before the soft clamp to ±5.
    temp : float
        Multiplies σ.

    See Also
    --------
    genkern.gaussian_residual_rsample_kl : a level of a hierarchy in one pass
    genkern.compat.nvae.patch : the same in a whole model

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


def _fused_mixture(theirs: Any) -> type:
    """A subclass of NVAE's mixture of discretized logistics that needs its parameters as they are alone."""

    class DiscMixLogistic(theirs):
        def __init__(self, param: Tensor, num_mix: int = 10, num_bits: int = 8) -> None:
            self._given = param, num_mix, num_bits

        def __getattr__(self, name: str) -> Any:
            """NVAE's attributes, which its other methods use, made when one is asked for."""
            if name.startswith("_") or "means" in vars(self):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            super().__init__(*self._given)
            return getattr(self, name)

        def log_prob(self, samples: Tensor) -> Tensor:
            """Log-probability of each pixel: ``[B, 3, H, W]`` in [0, 1] → ``[B, H, W]``."""
            param, mixtures, bits = self._given
            largest = 2**bits - 1
            last = math.floor(0.995 * largest) + 1  # NVAE has no upper end from 0.99 of [−1, 1] on
            return -functional.discretized_logistic_mixture_nll(
                2 * samples - 1,
                param,
                mixtures=mixtures,
                bins=last + 1,
                high=2 * last / largest - 1,
                reduction="none",
            )

        def sample(self, t: float = 1.0) -> Tensor:
            """In [0, 1]; the noise is genkern's."""
            if t != 1.0:
                return super().sample(t)
            param, mixtures, _ = self._given
            return functional.discretized_logistic_mixture_sample(param, mixtures=mixtures) / 2 + 0.5

    return DiscMixLogistic


def _find(model: Any) -> tuple[type]:
    return (defining(model, "decoder_output", ("logits",), ("Normal", "DiscMixLogistic")),)


def _patch(kind: type) -> Patch:
    theirs = sys.modules[kind.__module__]
    fused = {"Normal": Normal, "DiscMixLogistic": _fused_mixture(theirs.DiscMixLogistic)}
    return Patch({(kind.__module__, name): value for name, value in fused.items()})


_switch = ModelSwitch(_find, _patch)
patch, unpatch = _switch.patch, _switch.unpatch
