"""What a VAE asks of its objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from genkern import _checks
from genkern.nn.priors import Prior, StandardNormalPrior

if TYPE_CHECKING:
    from genkern.nn.vae import VAE

__all__ = ["Objective", "check_parts"]


class Objective(nn.Module):
    """What is minimised, and under which prior. A new one is a class with `loss`, and `prior` where it differs."""

    def loss(self, vae: VAE, x: Tensor, *, encoder_input: Tensor | None = None, **noise: Any) -> Tensor:
        """The scalar to be minimised for one batch, in nats; `noise` is ``key``, ``generator``, ``element_offset``."""
        raise NotImplementedError

    def prior(self, vae: VAE) -> Prior:
        """p(z): what latents are drawn from, and compared with in the bound."""
        return StandardNormalPrior()


def check_parts(**parts: Tensor) -> None:
    """Parts of a loss are of the same data: means over batches of unlike sizes would be added without a word."""
    (first, of), *_ = parts.items()
    for name, value in parts.items():
        _checks.tensor(name, value)
        if value.shape != of.shape:
            expected = _checks.shape_text(of.shape)
            raise ValueError(f"{name}: expected shape {expected} as {first}, got {_checks.shape_text(value.shape)}")
    _checks.same_device(**parts)
