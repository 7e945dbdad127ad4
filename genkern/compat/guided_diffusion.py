"""The losses of guided-diffusion (Dhariwal & Nichol 2021, ``losses.py``): their names, arguments and shapes."""

import math

import torch
from torch import Tensor

from genkern import functional

__all__ = ["discretized_gaussian_log_likelihood", "normal_kl"]


def normal_kl(mean1: Tensor | float, logvar1: Tensor | float, mean2: Tensor | float, logvar2: Tensor | float) -> Tensor:
    """KL(N(mean1, e^logvar1) ‖ N(mean2, e^logvar2)) of each element, in nats; the arguments broadcast.

    Raises
    ------
    TypeError
        None of the arguments is a Tensor.

    See Also
    --------
    genkern.gaussian_kl : with sums, free bits and units

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.guided_diffusion import normal_kl
    >>> normal_kl(torch.ones(2), 0.0, 0.0, 0.0)
    tensor([0.5000, 0.5000])
    """
    arguments = (mean1, logvar1, mean2, logvar2)
    like = next((a for a in arguments if isinstance(a, Tensor)), None)
    if like is None:
        raise TypeError("mean1, logvar1, mean2, logvar2: expected at least one Tensor, got numbers alone")
    loc, scale, prior_loc, prior_scale = (a if isinstance(a, Tensor) else like.new_full((), a) for a in arguments)
    loc, scale = torch.broadcast_tensors(loc, scale, prior_loc, prior_scale)[:2]
    return functional.gaussian_kl(loc, scale, prior_loc, prior_scale, reduction="none")


def discretized_gaussian_log_likelihood(
    x: Tensor, *, means: Tensor, log_scales: Tensor, legacy: bool = False
) -> Tensor:
    """Log probability of each grey level of 8-bit images in [−1, 1], with the tanh form of the normal's cdf.

    Parameters
    ----------
    x, means, log_scales : Tensor
        Images, means, log standard deviations, of one shape.
    legacy : bool
        Whether there is guided-diffusion's floor of 1e-12 under every mass, which stops the gradient of far outliers.

    See Also
    --------
    genkern.discretized_gaussian_nll : with all options

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.guided_diffusion import discretized_gaussian_log_likelihood
    >>> zero = torch.zeros(2)
    >>> discretized_gaussian_log_likelihood(zero, means=zero, log_scales=zero)
    tensor([-5.7671, -5.7671])
    """
    for name, value in (("means", means), ("log_scales", log_scales)):
        if value.shape != x.shape:
            raise ValueError(f"{name}: expected the shape of x {tuple(x.shape)}, got {tuple(value.shape)}")
    log_prob = -functional.discretized_gaussian_nll(
        x, means, log_scales, scale_param="logstd", cdf="tanh", reduction="none"
    )
    return log_prob.clamp(min=math.log(1e-12)) if legacy else log_prob
