"""Densities of Gaussian mixtures with many components, in memory for the points and the components alone."""

import math

import torch
from torch import Tensor

from genkern import _checks
from genkern._library import Operation
from genkern.functional._scale import Clamp, checked_sigma
from genkern.functional.gaussian import gaussian_log_prob
from genkern.reference import mixture as reference
from genkern.reference import scale as _scale
from genkern.reference.options import Sigma

__all__ = ["gaussian_mixture_log_prob", "kde_log_prob", "total_correlation"]

_gaussian_mixture = Operation(
    "gaussian_mixture(Tensor z, Tensor loc, Tensor log_scale, Tensor? log_weights, bool marginals) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    reference.gaussian_mixture,
    keeps_results=True,
    by_rows=False,
)


def gaussian_mixture_log_prob(
    z: Tensor,
    loc: Tensor,
    scale: Tensor | float,
    *,
    log_weights: Tensor | None = None,
    marginals: bool = False,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
) -> Tensor | tuple[Tensor, Tensor]:
    """log sum_c w_c N(z; loc_c, scale_c^2) of every point under a mixture of diagonal Gaussians.

    An aggregate posterior, a VampPrior, a kernel density. Time is that of B·C·D terms, memory that of the arguments:
    sums over components are streamed, forward and backward.

    Parameters
    ----------
    z : Tensor
        Points, ``[B, D]``.
    loc : Tensor
        Means, ``[C, D]`` with C >= 1.
    scale : Tensor or float
        One a component and dimension ``[C, D]``, one a component ``[C]`` or ``[C, 1]``, one a dimension ``[1, D]``, or
        one for all. What it holds: see `genkern.functional`.
    log_weights : Tensor, optional
        ``[C]``, or ``[B, C]``: of each point's own mixture. Taken as they are, not normalised; uniform 1/C by default.
    marginals : bool
        Whether the product of the mixture's marginal densities is asked for, too.

    Returns
    -------
    log_prob : Tensor
        ``[B]``, in nats, float32 or wider.
    marginal_log_prob : Tensor
        Only with `marginals`: ``[B]``, sum_d log sum_c w_c N(z_d; loc_cd, scale_cd^2).

    See Also
    --------
    kde_log_prob : components of one width around data
    total_correlation : the aggregate posterior of a VAE

    Notes
    -----
    Gradients to `z`, `loc`, `scale` and `log_weights`; second order, through the definition, in O(B·C·D) memory. Sums
    are in the type of arithmetic, in an order that depends on the shapes alone.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> z, loc = torch.zeros(1, 2), torch.zeros(3, 2)
    >>> gk.gaussian_mixture_log_prob(z, loc, 0.0)  # a standard normal three times: -log 2 pi
    tensor([-1.8379])
    """
    _checks.tensor("loc", loc)
    log_scale = _log_scale(scale, loc, checked_sigma(scale_param, scale_offset, clamp, clamp_mode))
    log_prob, marginal = _mixture(z, loc, log_scale, log_weights, marginals)
    return (log_prob, marginal.sum(-1)) if marginals else log_prob


def kde_log_prob(x: Tensor, data: Tensor, bandwidth: Tensor | float) -> Tensor:
    """Log density of a Parzen window estimate: the mean of Gaussians of one width around the data.

    Parameters
    ----------
    x : Tensor
        Where, ``[B, D]``.
    data : Tensor
        ``[N, D]``.
    bandwidth : Tensor or float
        Standard deviation, > 0: one, or one a datum ``[N]``.

    Returns
    -------
    Tensor
        ``[B]``, in nats, exact: no tree, no truncation. Gradients to all three.

    See Also
    --------
    gaussian_mixture_log_prob : components of any weight and width
    mmd : two samples compared without a density

    Notes
    -----
    Parzen 1962, "On estimation of a probability density function and mode". As a measure of a generator it is
    unreliable in high dimensions (Theis et al. 2016).

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.kde_log_prob(torch.zeros(1, 1), torch.tensor([[-1.0], [1.0]]), 1.0)  # -1/2 - 1/2 log 2 pi
    tensor([-1.4189])
    """
    _checks.tensor("x", x)
    _checks.tensor("data", data)
    if data.dim() != 2 or data.shape[0] == 0:
        raise ValueError(f"data: expected shape (N, D) with N >= 1, got {tuple(data.shape)}")
    if x.dim() != 2 or x.shape[1] != data.shape[1]:
        raise ValueError(f"x: expected shape (B, {data.shape[1]}), got {tuple(x.shape)}")
    _checks.same_device(x=x, data=data, bandwidth=bandwidth if isinstance(bandwidth, Tensor) else None)
    if not isinstance(bandwidth, Tensor):
        bandwidth = _checks.number("bandwidth", bandwidth)
        if not bandwidth > 0:
            raise ValueError(f"bandwidth: expected a number > 0, got {bandwidth}")
    log_scale = _log_scale(bandwidth, data, Sigma("std"), name="bandwidth")
    return _mixture(x, data, log_scale, None, False)[0]


def total_correlation(
    z: Tensor,
    loc: Tensor,
    scale: Tensor,
    *,
    dataset_size: int,
    weighting: str = "mss",
    mss_weights: str = "paper",
    joint_weight: str = "once",
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
) -> tuple[Tensor, Tensor, Tensor]:
    """The KL term of a Gaussian VAE in the three parts that beta-TC-VAE weighs apart, for every datum.

    The aggregate posterior q(z) = mean over the data of q(z | x_n) is estimated from the batch, whose data are the
    components of a mixture; memory is O(B·D).

    Parameters
    ----------
    z : Tensor
        ``[B, D]``, z_b drawn from q(z | x_b).
    loc, scale : Tensor
        Those of q(z | x_b), ``[B, D]``. What `scale` holds: see `genkern.functional`.
    dataset_size : int
        N, from which the batch was drawn; at least B.
    weighting : {"mss", "mws"}
        Minibatch stratified sampling, or minibatch weighted sampling, whose weights are all 1 / (N·B).
    mss_weights : {"paper", "legacy"}
        Each datum's own component weighs 1/N, one other (N - M) / (N·M), the rest 1/M, where M = B - 1. "paper": the
        datum's own and the one after it. "legacy": as in the authors' code and its copies, the first and the second
        of the batch, whichever datum asks.
    joint_weight : {"once", "per_dim"}
        "per_dim": as in the same code, the joint density counts a component's log weight D times.

    Returns
    -------
    mutual_information : Tensor
        ``[B]``, log q(z|x) - log q(z), in nats; its mean is the index-code mutual information.
    total_correlation : Tensor
        ``[B]``, log q(z) - sum_d log q(z_d).
    dimension_wise_kl : Tensor
        ``[B]``, sum_d log q(z_d) - log p(z) under the prior N(0, I). The three add up to log q(z|x) - log p(z).

    See Also
    --------
    genkern.nn.BetaTCVAE : the objective that weighs the three parts
    gaussian_mixture_log_prob : the density behind them

    Notes
    -----
    Chen et al. 2018, "Isolating sources of disentanglement in variational autoencoders", equation 2 and appendix C.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> z, loc, logvar = torch.randn(3, 32, 10)
    >>> mi, tc, dwkl = gk.total_correlation(z, loc, logvar, dataset_size=50_000)
    >>> mi.shape
    torch.Size([32])
    """
    for name, value in (("z", z), ("loc", loc), ("scale", scale)):
        _checks.tensor(name, value)
        if value.shape != z.shape or z.dim() != 2:
            raise ValueError(f"{name}: expected shape (B, D), the same for z, loc and scale, got {tuple(value.shape)}")
    dataset_size = _checks.integer("dataset_size", dataset_size, minimum=max(z.shape[0], 1))
    _checks.choice("weighting", weighting, ("mss", "mws"))
    _checks.choice("mss_weights", mss_weights, ("paper", "legacy"))
    _checks.choice("joint_weight", joint_weight, ("once", "per_dim"))
    # Once for all four densities, whose gradients are then added in the type of arithmetic, too.
    dtype = _checks.compute_dtype(z, loc, scale)
    z, loc = z.to(dtype), loc.to(dtype)
    log_scale = _log_scale(scale, loc, checked_sigma(scale_param, scale_offset, clamp, clamp_mode))
    log_q_x = gaussian_log_prob(z, loc, log_scale, scale_param="logstd")
    if z.shape[0] == 0:
        return log_q_x, log_q_x, log_q_x
    log_p = gaussian_log_prob(z, torch.zeros_like(z))
    if weighting == "mws" or z.shape[0] < 2:
        densities = _equally_weighted
    else:
        densities = _stratified if mss_weights == "paper" else _stratified_legacy
    log_q, log_q_d = densities(z, loc, log_scale, dataset_size, 1, True)
    if joint_weight == "per_dim":
        log_q, _ = densities(z, loc, log_scale, dataset_size, z.shape[1], False)
    marginal = log_q_d.sum(-1)
    return log_q_x - log_q, log_q - marginal, marginal - log_p


# log q(z) and log q(z_d) by the batch, each component's log weight counted `times` times.


def _equally_weighted(
    z: Tensor, loc: Tensor, log_scale: Tensor, dataset_size: int, times: int, marginals: bool
) -> tuple[Tensor, Tensor]:
    batch = z.shape[0]
    log_weights = log_scale.new_full((batch,), -times * math.log(dataset_size * max(batch, 1)))
    return _mixture(z, loc, log_scale, log_weights, marginals)


def _stratified(
    z: Tensor, loc: Tensor, log_scale: Tensor, dataset_size: int, times: int, marginals: bool
) -> tuple[Tensor, Tensor]:
    """The weight of component c for datum b depends on (c - b) mod B alone.

    Components in reverse turn it into (B - 1 - c - b) mod B. The rows of weights are then one vector that moves by one
    from row to row, and no [B, B] tensor is needed.
    """
    batch = z.shape[0]
    weights = _stratified_weights(log_scale, batch, dataset_size).flip(0) * times
    rows = torch.cat((weights, weights[:-1])).as_strided((batch, batch), (1, 1))
    return _mixture(z, loc.flip(0), log_scale.flip(0), rows, marginals)


def _stratified_legacy(
    z: Tensor, loc: Tensor, log_scale: Tensor, dataset_size: int, times: int, marginals: bool
) -> tuple[Tensor, Tensor]:
    """All data have the weights of the first, but for the last but one, whose first weight is that of the second."""
    batch = z.shape[0]
    weights = _stratified_weights(log_scale, batch, dataset_size) * times
    log_q, log_q_d = _mixture(z, loc, log_scale, weights, marginals)
    other = torch.cat((weights[1:2], weights[1:]))
    row = _mixture(z[batch - 2 : batch - 1], loc, log_scale, other, marginals)
    log_q, log_q_d = (
        torch.cat((q[: batch - 2], own, q[batch - 1 :])) for q, own in zip((log_q, log_q_d), row, strict=True)
    )
    return log_q, log_q_d


def _stratified_weights(like: Tensor, batch: int, dataset_size: int) -> Tensor:
    """Log weights of the own component, of the one that stands for the data outside the batch, and of the rest."""
    others = batch - 1
    rest = (dataset_size - others) / (dataset_size * others)
    numbers = [(1, -math.log(dataset_size)), (1, math.log(rest)), (batch - 2, -math.log(others))]
    return torch.cat([like.new_full((count,), value) for count, value in numbers])


def _log_scale(scale: Tensor | float, loc: Tensor, sigma: Sigma, *, name: str = "scale") -> Tensor:
    """log sigma, [1 or C, 1 or D]: a handful of operations on as many numbers as the scale has."""
    if isinstance(scale, Tensor):
        _checks.tensor(name, scale)
        raw = scale.reshape(-1, 1) if scale.dim() < 2 else scale
        if raw.dim() > 2 or any(size not in (1, whole) for size, whole in zip(raw.shape, loc.shape, strict=False)):
            raise ValueError(
                f"{name}: expected a shape that broadcasts to {tuple(loc.shape)}, got {tuple(scale.shape)}"
            )
        dtype = _checks.compute_dtype(loc, scale)
    else:
        dtype = _checks.compute_dtype(loc)
        raw = loc.new_full((1, 1), _scale.constant(_checks.number(name, scale), dtype), dtype=dtype)
    return 0.5 * _scale.logvar(_scale.clamp(raw.to(dtype), sigma), sigma)


def _mixture(
    z: Tensor, loc: Tensor, log_scale: Tensor, log_weights: Tensor | None, marginals: bool
) -> tuple[Tensor, Tensor]:
    """The joint log density ``[B]`` and, with `marginals`, those of dimensions ``[B, D]``; totals are for backward."""
    joint, marginal, *_ = _gaussian_mixture(z, loc, log_scale, log_weights, marginals)
    return joint, marginal
