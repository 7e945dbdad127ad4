"""The blocks of VDVAE (Child 2021, ``vae.py``) and its distributions (``vae_helpers.py``).

::

    from genkern.compat import vdvae as fused
    with fused.patch(vae):  # or fused.patch(vae) once, and fused.unpatch()
        stats = vae(x, x_target)

or, for code of one's own, its functions: they have VDVAE's names, arguments and reductions.

In a patched model a block draws z and takes its divergence in one pass, and the mixture of the output is scored and
drawn by the fused operations. Images are channels-last, and are read in place. Signatures, reductions and results are
VDVAE's, and so are checkpoints; what differs in numbers: the noise is genkern's, and every mass of a bin is exact.
"""

import math
from typing import Any

import torch
from torch import Tensor

from genkern import functional
from genkern.compat._patching import ModelSwitch, Patch, defining

__all__ = [
    "discretized_mix_logistic_loss",
    "draw_gaussian_diag_samples",
    "gaussian_analytical_kl",
    "patch",
    "sample_from_discretized_mix_logistic",
    "unpatch",
]


def gaussian_analytical_kl(mu1: Tensor, mu2: Tensor, logsigma1: Tensor, logsigma2: Tensor) -> Tensor:
    """KL(N(mu1, e^logsigma1) ‖ N(mu2, e^logsigma2)) of each element, in nats; accurate where the two are close.

    See Also
    --------
    genkern.gaussian_kl : with sums, free bits and units

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.vdvae import gaussian_analytical_kl
    >>> zero = torch.zeros(2)
    >>> gaussian_analytical_kl(zero + 1, zero, zero, zero)
    tensor([0.5000, 0.5000])
    """
    return functional.gaussian_kl(mu1, logsigma1, mu2, logsigma2, scale_param="logstd", reduction="none")


def draw_gaussian_diag_samples(mu: Tensor, logsigma: Tensor) -> Tensor:
    """A sample of N(mu, e^(2 logsigma)) by reparameterisation; the noise is genkern's, from torch's default generator.

    See Also
    --------
    genkern.gaussian_rsample : with a key

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.vdvae import draw_gaussian_diag_samples
    >>> draw_gaussian_diag_samples(torch.zeros(2, 3), torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    return functional.gaussian_rsample(mu, logsigma, scale_param="logstd")


def discretized_mix_logistic_loss(x: Tensor, l: Tensor, low_bit: bool = False) -> Tensor:  # noqa: E741
    """−log p(x) / (number of values) of each image, in nats: ``[B, H, W, 3]`` under ``[B, H, W, 10 M]`` → ``[B]``.

    `low_bit`: 32 grey levels instead of 256. VDVAE takes the density at the middle of a bin for its mass where the mass
    is below 1e-5; here every mass is exact.

    See Also
    --------
    genkern.discretized_logistic_mixture_nll : any number of bins, with or without colour

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.vdvae import discretized_mix_logistic_loss
    >>> discretized_mix_logistic_loss(torch.zeros(2, 4, 4, 3), torch.zeros(2, 4, 4, 100))
    tensor([6.2344, 6.2344])
    """
    nll = functional.discretized_logistic_mixture_nll(
        x, l, mixtures=l.shape[-1] // 10, bins=32 if low_bit else 256, channel_dim=-1
    )
    return nll / math.prod(x.shape[1:])


def sample_from_discretized_mix_logistic(l: Tensor, nr_mix: int) -> Tensor:  # noqa: E741
    """An image of each set of parameters, ``[B, H, W, 10 M]`` → ``[B, H, W, 3]`` in [−1, 1]; the noise is genkern's.

    See Also
    --------
    genkern.discretized_logistic_mixture_sample : with a key

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.vdvae import sample_from_discretized_mix_logistic
    >>> sample_from_discretized_mix_logistic(torch.zeros(2, 4, 4, 100), 10).shape
    torch.Size([2, 4, 4, 3])
    """
    return functional.discretized_logistic_mixture_sample(l, mixtures=nr_mix, channel_dim=-1)


def _sample(self: Any, x: Tensor, acts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A block's draw z, x with what the prior adds to it, and the divergence of each element."""
    qm, qv = self.enc(torch.cat([x, acts], dim=1)).chunk(2, dim=1)
    pm, pv, added = self.prior(x).tensor_split((self.zdim, 2 * self.zdim), dim=1)
    z, kl = functional.gaussian_rsample_kl(qm, qv, pm, pv, scale_param="logstd", reduction="none")
    return z, x + added, kl


_OF_BLOCKS = {
    "draw_gaussian_diag_samples": draw_gaussian_diag_samples,
    "gaussian_analytical_kl": gaussian_analytical_kl,
}
_OF_THE_OUTPUT = {
    "discretized_mix_logistic_loss": discretized_mix_logistic_loss,
    "sample_from_discretized_mix_logistic": sample_from_discretized_mix_logistic,
}


def _find(model: Any) -> tuple[type, type]:
    return defining(model, "sample", ("x", "acts"), _OF_BLOCKS), defining(model, "nll", ("px_z", "x"), _OF_THE_OUTPUT)


def _patch(block: type, output: type) -> Patch:
    functions = {(block.__module__, name): function for name, function in _OF_BLOCKS.items()}
    functions |= {(output.__module__, name): function for name, function in _OF_THE_OUTPUT.items()}
    return Patch(functions, {(block, "sample"): _sample})


_switch = ModelSwitch(_find, _patch)
patch, unpatch = _switch.patch, _switch.unpatch
