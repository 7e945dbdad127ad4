"""Priors p(z): the latents of a VAE are compared with them, and drawn from them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from genkern import _checks, functional, random

__all__ = ["GaussianMixturePrior", "GaussianPrior", "Prior", "StandardNormalPrior"]


class Prior:
    """The prior p(z), as `genkern.nn.VAE` uses it; it holds no parameters, an objective may."""

    def rsample_kl(self, moments: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        """z ~ q(z | x) and KL(q(z | x) ‖ p(z)) ``[B]`` in nats, exact or by that z, of packed moments.

        `options` are those of `genkern.gaussian_rsample_kl_packed`: of the scale and of the noise.
        """
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) ``[B]`` in nats, of ``[B, ...]``."""
        raise NotImplementedError

    def sample(
        self, shape: Sequence[int], like: Tensor, *, key: Tensor, element_offset: int = 0, temperature: float = 1.0
    ) -> Tensor:
        """Draws of the given shape, with the dtype and device of `like`; a pure function of its arguments."""
        raise NotImplementedError


class StandardNormalPrior(Prior):
    """p(z) = N(0, I), whose KL has a closed form.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn.priors import StandardNormalPrior
    >>> StandardNormalPrior().log_prob(torch.zeros(1, 2))  # −log 2π
    tensor([-1.8379])
    """

    def rsample_kl(self, moments: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        return functional.gaussian_rsample_kl_packed(moments, chunk_dim=1, **options)

    def log_prob(self, z: Tensor) -> Tensor:
        return functional.gaussian_log_prob(z, torch.zeros_like(z))

    def sample(
        self, shape: Sequence[int], like: Tensor, *, key: Tensor, element_offset: int = 0, temperature: float = 1.0
    ) -> Tensor:
        # Not like.new_zeros: a sharded parameter would make a DTensor of it.
        origin = torch.zeros(shape, dtype=like.dtype, device=like.device)
        return functional.gaussian_rsample(
            origin, origin, temperature=temperature, key=key, element_offset=element_offset
        )


class _OfMoments(Prior):
    """A prior made of Gaussians with these moments."""

    def __init__(self, loc: Tensor, scale: Tensor, scale_options: dict[str, Any]) -> None:
        self.loc = loc
        self.scale = scale
        self.scale_options = scale_options


class GaussianPrior(_OfMoments):
    """p(z) = N(loc, scale²) of each datum, as a conditional prior has it; its KL has a closed form.

    Parameters
    ----------
    loc, scale : Tensor
        ``[B, latent, ...]`` each.
    scale_options : dict
        ``scale_param``, ``scale_offset``, ``clamp``, ``clamp_mode``: what `scale` holds, as that of q does.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn.priors import GaussianPrior
    >>> GaussianPrior(torch.zeros(3, 2), torch.zeros(3, 2), {}).log_prob(torch.zeros(6, 2)).shape  # two draws each
    torch.Size([6])
    """

    def rsample_kl(self, moments: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        loc, scale = moments.chunk(2, dim=1)
        self._check(loc.shape)
        return functional.gaussian_rsample_kl(loc, scale, self.loc, self.scale, **options)

    def log_prob(self, z: Tensor) -> Tensor:
        rows = max(1, len(self.loc))  # an empty batch has no draws
        draws = z.unflatten(0, (len(z) // rows, len(self.loc)))
        self._check(draws.shape[1:])
        return functional.gaussian_log_prob(
            draws, self.loc, self.scale, event_ndim=self.loc.ndim - 1, **self.scale_options
        ).flatten()

    def sample(
        self, shape: Sequence[int], like: Tensor, *, key: Tensor, element_offset: int = 0, temperature: float = 1.0
    ) -> Tensor:
        self._check(shape)
        noise: dict[str, Any] = {"key": key, "element_offset": element_offset, "temperature": temperature}
        return functional.gaussian_rsample(self.loc, self.scale, **noise, **self.scale_options).to(like.dtype)

    def _check(self, shape: Sequence[int]) -> None:
        if self.loc.shape != torch.Size(shape):
            raise ValueError(
                f"prior: expected packed moments of latents of shape {_checks.shape_text(shape)}, "
                f"got those of {_checks.shape_text(self.loc.shape)}"
            )


class GaussianMixturePrior(_OfMoments):
    """p(z) = 1/C Σ N(z; loc_c, scale_c), differentiable by its components.

    Parameters
    ----------
    loc, scale : Tensor
        ``[C, latent, ...]`` each.
    scale_options : dict
        ``scale_param``, ``scale_offset``, ``clamp``, ``clamp_mode``: what `scale` holds.

    Notes
    -----
    The KL is that of the one z that is drawn, log q(z | x) − log p(z): right in expectation, negative at times. A
    temperature scales the noise about the components' means.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn.priors import GaussianMixturePrior
    >>> GaussianMixturePrior(torch.zeros(3, 2), torch.zeros(3, 2), {}).log_prob(torch.zeros(1, 2))  # −log 2π
    tensor([-1.8379])
    """

    def rsample_kl(self, moments: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        loc, scale = moments.chunk(2, dim=1)
        z = functional.gaussian_rsample(loc, scale, **options)
        return z, functional.gaussian_log_prob(z, loc, scale, **self.scale_options) - self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        components = self.loc.flatten(1), self.scale.flatten(1)
        log_prob = functional.gaussian_mixture_log_prob(z.flatten(1), *components, **self.scale_options)
        assert isinstance(log_prob, Tensor)  # marginals were not asked for
        return log_prob

    def sample(
        self, shape: Sequence[int], like: Tensor, *, key: Tensor, element_offset: int = 0, temperature: float = 1.0
    ) -> Tensor:
        component_key, noise_key = random.split(key)
        size = self.loc[0].numel()
        u = random.uniform(component_key, (shape[0],), element_offset=element_offset // max(size, 1))
        # In float64: the product of a float32 below 1 and C may round up to C.
        chosen = (u.double() * len(self.loc)).long().to(self.loc.device)
        return functional.gaussian_rsample(
            self.loc[chosen],
            self.scale[chosen],
            temperature=temperature,
            key=noise_key,
            element_offset=element_offset,
            **self.scale_options,
        ).to(like.dtype)
