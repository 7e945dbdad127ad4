"""The layer between an encoder's features and its latent: a linear map, then one fused pass."""

from typing import Any

import torch
from torch import Tensor, nn

from genkern import _checks, functional
from genkern.functional._scale import Clamp
from genkern.nn._inputs import check_input, factory, scale_options

__all__ = ["GaussianHead"]


class GaussianHead(nn.Module):
    """Features to a diagonal Gaussian's sample and its KL divergence from N(0, I).

    Parameters
    ----------
    in_features : int
        Width of the features.
    latent_dim : int
        Latent dimensions.
    bias : bool
        Whether the linear map has a bias.
    scale_param, scale_offset, clamp, clamp_mode
        The meaning of the second half of the moments: see `genkern.functional`.
    device, dtype
        Device and type of the parameters.

    See Also
    --------
    VAE : a whole model
    genkern.gaussian_rsample_kl_packed : the operation behind the linear layer

    Notes
    -----
    ``forward(h, **options)``: `h` ``[B, in_features]`` → ``(z, kl)`` with `z` ``[B, latent_dim]`` in the features'
    dtype and `kl` ``[B]`` in nats, float32 or wider. ``options`` are those of
    `genkern.gaussian_rsample_kl_packed`, such as ``key``, ``generator``, ``element_offset``, ``free_bits``,
    ``reduction``. ``moments(h)`` gives the packed moments ``[B, 2·latent_dim]`` alone. The gradient is written straight
    into the packed layout: no split, no copy.
    Source: Kingma & Welling 2014, appendix B.

    Examples
    --------
    >>> import torch, genkern as gk
    >>> from genkern.nn import GaussianHead
    >>> head = GaussianHead(10, 4)
    >>> z, kl = head(torch.zeros(3, 10), key=gk.random.key(0))
    >>> z.shape, kl.shape
    (torch.Size([3, 4]), torch.Size([3]))
    """

    def __init__(
        self,
        in_features: int,
        latent_dim: int,
        *,
        bias: bool = True,
        scale_param: str = "logvar",
        scale_offset: float = 0.0,
        clamp: Clamp | None = None,
        clamp_mode: str = "hard",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        in_features = _checks.positive("in_features", in_features)
        latent_dim = _checks.positive("latent_dim", latent_dim)
        bias = _checks.boolean("bias", bias)
        self.in_features = in_features
        self.latent_shape = (latent_dim,)
        self.scale_options = scale_options(scale_param, scale_offset, clamp, clamp_mode)
        self.linear = nn.Linear(in_features, 2 * latent_dim, bias=bias, **factory(device, dtype))

    def moments(self, h: Tensor) -> Tensor:
        """Packed moments ``[..., 2·latent_dim]``: means, then scales."""
        check_input("h", h, (self.in_features,), self, any_batch=True)
        return self.linear(h)

    def forward(self, h: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
        (latent,) = self.latent_shape
        return functional.gaussian_rsample_kl_packed(
            self.moments(h), chunk_dim=-1, latent_channels=latent, **self.scale_options, **options
        )

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.scale_options.items())
