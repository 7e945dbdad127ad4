"""The interface between a VAE and its objective."""

from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from genkern import _checks
from genkern.nn.likelihoods import Likelihood
from genkern.nn.priors import Prior, StandardNormalPrior

__all__ = ["Model", "Objective", "check_parts"]


class Model(Protocol):
    """The methods that an objective calls of the model it trains; `genkern.nn.VAE` documents each."""

    likelihood: Likelihood
    scale_options: dict[str, Any]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def decode(self, z: Tensor) -> Tensor: ...

    def moments(self, x: Tensor, encoder_input: Tensor | None = None) -> Tensor: ...

    def reconstruction_and_kl(
        self, x: Tensor, encoder_input: Tensor | None = None, **options: Any
    ) -> tuple[Tensor, Tensor]: ...

    def weighted_draws(
        self,
        x: Tensor,
        loc: Tensor,
        scale: Tensor,
        keys: Tensor,
        element_offset: int = 0,
        *,
        prior: Prior | None = None,
        frozen: bool = False,
        detach_log_q: bool = False,
    ) -> tuple[Tensor, Tensor]: ...


class Objective(nn.Module):
    """The base of what a `VAE` may minimise: a new one is a class with `loss`, and `prior` where it is not N(0, I).

    See Also
    --------
    ELBO
    IWAE
    BetaTCVAE
    InfoVAE
    VampPrior
    VAE : takes one

    Examples
    --------
    One of your own, with the KL term squared:

    >>> import torch
    >>> from genkern.nn import MLPDecoder, MLPEncoder, Objective, VAE
    >>> class Squared(Objective):
    ...     def loss(self, vae, x, *, encoder_input=None, **noise):
    ...         reconstruction, kl = vae.reconstruction_and_kl(x, encoder_input, **noise)
    ...         return (kl**2 - reconstruction).mean()
    >>> VAE(MLPEncoder((4,), 2), MLPDecoder((4,), 2), objective=Squared()).loss(torch.rand(5, 4)).backward()
    """

    own_prior: ClassVar[bool] = False
    """Whether the loss is for the prior of the objective alone, which a prior of the model cannot replace."""

    def loss(self, vae: Model, x: Tensor, *, encoder_input: Tensor | None = None, **noise: Any) -> Tensor:
        """The scalar to be minimised for one batch, in nats; `noise` is ``key``, ``generator``, ``element_offset``."""
        raise NotImplementedError

    def prior(self, vae: Model) -> Prior:
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
