"""What a VAE asks of its objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from genkern.nn.priors import Prior, StandardNormalPrior

if TYPE_CHECKING:
    from genkern.nn.vae import VAE

__all__ = ["Objective"]


class Objective(nn.Module):
    """What is minimised, and under which prior. A new one is a class with `loss`, and `prior` where it differs."""

    def loss(self, vae: VAE, x: Tensor, *, encoder_input: Tensor | None = None, **noise: Any) -> Tensor:
        """The scalar to be minimised for one batch, in nats; `noise` is ``key``, ``generator``, ``element_offset``."""
        raise NotImplementedError

    def prior(self, vae: VAE) -> Prior:
        """p(z): what latents are drawn from, and compared with in the bound."""
        return StandardNormalPrior()
