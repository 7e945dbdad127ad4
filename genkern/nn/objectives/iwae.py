"""Training by several weighted draws of the latent."""

from typing import Any

import torch
from torch import Tensor

from genkern import _checks, functional, random
from genkern.functional import _ordered
from genkern.nn._inputs import one_key
from genkern.nn.objectives.objective import Model, Objective

__all__ = ["IWAE"]


class IWAE(Objective):
    """The negative importance-weighted bound of `k` draws (Burda et al. 2016), averaged over the batch.

    Parameters
    ----------
    k : int
        Draws of z for each datum; the decoder runs on `k` times the batch.
    estimator : {"iwae", "vae", "ciwae", "miwae", "renyi", "dreg"}
        As `genkern.importance_weighted_bound`. "dreg" gives the encoder a gradient that does not drown in noise
        as `k` grows.
    **options
        ``beta`` for "ciwae", ``groups`` for "miwae", ``alpha`` for "renyi".

    See Also
    --------
    ELBO : one draw
    genkern.importance_weighted_bound : the bound, for a loop of your own

    Notes
    -----
    ``forward(log_w, latent=None)``: ``[k, B]`` → a scalar of its dtype to be minimised, in nats; "dreg" needs `latent`.
    Draw i of a key is that of ``VAE.log_marginal``, so the loss of "iwae" is −log_marginal(x, k), averaged.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import IWAE, MLPDecoder, MLPEncoder, VAE
    >>> vae = VAE(MLPEncoder((4,), 2), MLPDecoder((4,), 2), objective=IWAE(5, "dreg"))
    >>> vae.loss(torch.rand(3, 4)).backward()
    """

    def __init__(self, k: int, estimator: str = "iwae", **options: Any) -> None:
        super().__init__()
        k = _checks.positive("k", k)
        self.k = k
        self.estimator = estimator
        self.options = options
        tried = torch.zeros(k, 1, device="meta")  # refuses options now that would not do later
        self(tried, tried if estimator == "dreg" else None)

    def forward(self, log_w: Tensor, latent: Tensor | None = None) -> Tensor:
        bound = functional.importance_weighted_bound(log_w, estimator=self.estimator, latent=latent, **self.options)
        return -_ordered.mean(bound)

    def loss(self, vae: Model, x: Tensor, *, encoder_input: Tensor | None = None, **noise: Any) -> Tensor:
        offset = noise.pop("element_offset", 0)
        loc, scale = vae.moments(x, encoder_input).chunk(2, dim=1)
        keys = random.split(one_key(x.device, **noise), self.k)
        doubly = self.estimator == "dreg"
        log_w, z = vae.weighted_draws(x, loc, scale, keys, offset, detach_log_q=doubly)
        return self(log_w, z if doubly else None)

    def extra_repr(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"k={self.k}, estimator={self.estimator!r}{options}"
