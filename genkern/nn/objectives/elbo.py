"""The evidence lower bound, which a VAE maximises, and its usual weightings."""

from typing import Any

from torch import Tensor

from genkern import _checks
from genkern.functional import _ordered
from genkern.functional._free_bits import OVER
from genkern.nn.objectives._warmup import Warmup
from genkern.nn.objectives.objective import Model, Objective, check_parts

__all__ = ["ELBO"]


class ELBO(Warmup, Objective):
    """The negative evidence lower bound, averaged over the batch, with the KL term weighted as asked.

    Parameters
    ----------
    beta : float
        Weight of the KL term (Higgins et al. 2017). 1 is the bound itself.
    free_bits : float
        KL below this many nats is not penalised: max(KL, free_bits) (Kingma et al. 2016, appendix C.8).
    free_bits_over : {"dim", "event", "batch"}
        The values that the threshold applies to: each latent dimension, each datum, or the batch mean.
    capacity : float, optional
        Nats C: the KL term becomes ``beta · |KL − C|`` (Burgess et al. 2018, equation 8). KL is the batch's mean, as
        in the implementations in use.
    warmup : int
        Steps over which the KL weight grows linearly from 0 to `beta` (Sønderby et al. 2016), or, where `capacity` is
        given, over which C grows linearly from 0 to `capacity`. 0: no schedule.

    Attributes
    ----------
    step : Tensor
        Calls in training mode so far, int64; kept in the ``state_dict``, so a resumed run goes on where it stopped.

    See Also
    --------
    IWAE : a tighter bound by more draws
    HierarchicalELBO : the same of a hierarchy
    VAE : takes an objective

    Notes
    -----
    ``forward(reconstruction, kl)``: two ``[B]`` tensors in nats → a scalar of their dtype to be minimised. `kl` comes
    with the free bits applied, because the kernel that computes it applies them. No data-dependent branch, no
    synchronisation with the host.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import ELBO
    >>> ELBO(beta=4.0)(torch.tensor([-3.0, -5.0]), torch.tensor([1.0, 2.0])).item()
    10.0
    """

    def __init__(
        self,
        beta: float = 1.0,
        *,
        free_bits: float = 0.0,
        free_bits_over: str = "dim",
        capacity: float | None = None,
        warmup: int = 0,
    ) -> None:
        super().__init__(warmup)
        beta = _checks.number("beta", beta, minimum=0)
        free_bits = _checks.number("free_bits", free_bits, minimum=0)
        _checks.choice("free_bits_over", free_bits_over, OVER)
        capacity = _checks.number("capacity", capacity, optional=True, minimum=0)
        self.beta = beta
        self.free_bits = free_bits
        self.free_bits_over = free_bits_over
        self.capacity = capacity

    def forward(self, reconstruction: Tensor, kl: Tensor) -> Tensor:
        check_parts(reconstruction=reconstruction, kl=kl)
        progress = self._progress()
        self._advance()
        distortion, kl = -_ordered.mean(reconstruction), _ordered.mean(kl)
        if self.capacity is not None:
            return distortion + self.beta * (kl - self.capacity * progress).abs()
        return distortion + self.beta * progress * kl

    def loss(self, vae: Model, x: Tensor, *, encoder_input: Tensor | None = None, **noise: Any) -> Tensor:
        # Only a closed-form KL has dimensions to free.
        free_bits = {"free_bits": self.free_bits, "free_bits_over": self.free_bits_over} if self.free_bits else {}
        return self(*vae.reconstruction_and_kl(x, encoder_input, **noise, **free_bits))

    def extra_repr(self) -> str:
        return (
            f"beta={self.beta}, free_bits={self.free_bits} over {self.free_bits_over}, "
            f"capacity={self.capacity}, warmup={self.warmup}"
        )
