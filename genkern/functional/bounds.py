"""Bounds of log p(x) from importance weights: small tensors, plain torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genkern import _checks
from genkern.functional import _ordered

__all__ = ["LogMeanExp", "importance_weighted_bound", "log_mean_exp"]

ESTIMATORS = ("iwae", "vae", "ciwae", "miwae", "renyi", "dreg")
_OPTION_OF = {"ciwae": "beta", "miwae": "groups", "renyi": "alpha", "dreg": "latent"}


def log_mean_exp(log_w: Tensor, dim: int = 0) -> Tensor:
    """log of the mean of exp(log_w) along a dimension, without overflow or underflow.

    Parameters
    ----------
    log_w : Tensor
        Any floating dtype; at least one value along `dim`.
    dim : int
        The dimension that goes.

    Returns
    -------
    Tensor
        Without `dim`, float32 or wider. Equal values give exactly that value. All -inf gives -inf, any +inf gives +inf.

    See Also
    --------
    LogMeanExp : the same of values that come in pieces
    importance_weighted_bound : with the estimators that IWAE and its kin train by

    Notes
    -----
    The gradient is softmax(log_w), differentiable again; it is 0 where the result is infinite.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.log_mean_exp(torch.tensor([1000.0, 1000.0, 1000.0]), 0)
    tensor(1000.)
    """
    log_w, dim = _weights(log_w, dim)
    return _log_mean_power(log_w, 1.0, dim)


def importance_weighted_bound(
    log_w: Tensor,
    *,
    dim: int = 0,
    estimator: str = "iwae",
    beta: float | None = None,
    groups: int | None = None,
    alpha: float | None = None,
    latent: Tensor | None = None,
) -> Tensor:
    """Bound of log p(x) from K importance weights a datum: its value, and a gradient to train by.

    Parameters
    ----------
    log_w : Tensor
        log p(x, z_k) - log q(z_k | x) of z_k drawn from q(z | x), in nats: ``[K, B]``, or any shape with the draws
        along `dim`.
    dim : int
        Which dimension holds the draws.
    estimator : {"iwae", "vae", "ciwae", "miwae", "renyi", "dreg"}
        "iwae": log 1/K sum_k w_k (Burda et al. 2016). "vae": 1/K sum_k log w_k, the ELBO by K draws. "ciwae": beta
        times "vae" plus 1 - beta times "iwae"; "miwae": the mean of the bounds of `groups` groups of K / groups
        consecutive draws (Rainforth et al. 2018). "renyi": 1/(1 - alpha) log 1/K sum_k w_k^(1 - alpha) (Li & Turner
        2016). "dreg": the value of "iwae" with the doubly reparameterised gradient (Tucker et al. 2019).
    beta : float
        From 0 to 1; for "ciwae", and only for it.
    groups : int
        Divides K; for "miwae", and only for it.
    alpha : float
        Finite; for "renyi", and only for it. 0 is "iwae", 1 is the limit "vae"; above 1 rare draws weigh most.
    latent : Tensor
        For "dreg", and only for it: the draws z, in the shape of `log_w` followed by that of one latent; see Notes.

    Returns
    -------
    Tensor
        Without `dim`, in nats, float32 or wider. All weights equal to c give c, exactly for every estimator but
        "ciwae". Draws of log weight -inf count as w = 0.

    See Also
    --------
    genkern.nn.IWAE : the objective of a VAE that takes this bound
    genkern.nn.VAE.log_weights : the weights of a VAE
    log_mean_exp : the logarithm of a mean alone

    Notes
    -----
    Gradients to `log_w`, to any order. Where the log of a mean is infinite its gradient is 0.

    "dreg" needs the draws and one thing of the caller: in log q(z | x), and there alone, q's parameters are detached,
    so that they reach `log_w` through z only. From z on, backwards, each draw's gradient is then multiplied by its
    share of the weights once more: the encoder gets sum_k w~_k^2 d log w_k/dz_k dz_k/dphi, whose signal does not drown
    in noise as K grows; the decoder, which `log_w` reaches directly, gets the gradient of "iwae" as it is. This is a
    hook on `latent`: use that tensor for this bound alone.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.importance_weighted_bound(torch.tensor([[0.0], [1.0]]))
    tensor([0.6201])
    >>> loc, logvar = torch.zeros(2, 4, 3).requires_grad_().unbind()  # q(z | x) of 4 data, 3 latents
    >>> z = gk.gaussian_rsample(loc, logvar, sample_shape=(8,))
    >>> log_q = gk.gaussian_log_prob(z, loc.detach(), logvar.detach(), event_ndim=1)
    >>> log_p = gk.gaussian_log_prob(z, torch.ones(3), event_ndim=1)  # stands for log p(x | z) + log p(z)
    >>> bound = gk.importance_weighted_bound(log_p - log_q, estimator="dreg", latent=z)
    >>> bound.mean().backward()
    """
    log_w, dim = _weights(log_w, dim)
    _checks.choice("estimator", estimator, ESTIMATORS)
    beta = _checks.number("beta", beta, optional=True)
    groups = _checks.integer("groups", groups, optional=True, minimum=1)
    alpha = _checks.number("alpha", alpha, optional=True)
    _checks.tensor("latent", latent, optional=True)
    for name, value in (("beta", beta), ("groups", groups), ("alpha", alpha), ("latent", latent)):
        if (value is not None) != (_OPTION_OF.get(estimator) == name):
            expected = "None" if value is not None else "a value"
            raise ValueError(f"{name}: expected {expected} for estimator {estimator!r}, got {_checks.type_name(value)}")
    if beta is not None:
        return _ciwae(log_w, beta, dim)
    if groups is not None:
        if log_w.shape[dim] % groups:
            raise ValueError(f"groups: expected a divisor of the {log_w.shape[dim]} draws, got {groups}")
        return _ordered.mean(_log_mean_power(log_w.unflatten(dim, (groups, -1)), 1.0, dim + 1), dim)
    if alpha is not None:
        if not math.isfinite(alpha):
            raise ValueError(f"alpha: expected a finite number, got {alpha}")
        return _log_mean_power(log_w, 1.0 - alpha, dim)
    if latent is not None:
        _reparameterise_doubly(log_w, latent, dim)
    return _log_mean_power(log_w, 0.0 if estimator == "vae" else 1.0, dim)


class LogMeanExp:
    """log of the mean of exp over more values than fit into memory, added in pieces.

    Parameters
    ----------
    dim : int
        The dimension along which the pieces are pieces; all others stay.

    Attributes
    ----------
    count : int
        Values so far along `dim`.

    See Also
    --------
    log_mean_exp : the same of a tensor that fits into memory
    importance_weighted_bound : a bound to train by

    Notes
    -----
    State is the count and one float64 number for each result, so that millions of pieces lose nothing; the result has
    the widest dtype that came, float32 or wider. Without gradients: a figure to report, not a loss.
    ValueError for the result of nothing.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> log_w = torch.randn(5000, 3)
    >>> total = gk.LogMeanExp()
    >>> for piece in log_w.split(100):
    ...     total.update(piece)
    >>> torch.testing.assert_close(total.compute(), gk.log_mean_exp(log_w, 0))
    """

    def __init__(self, dim: int = 0) -> None:
        _checks.integer("dim", dim)
        self.dim = dim
        self.count = 0
        self._log_sum: Tensor | None = None
        self._dtype = torch.float32

    @torch.no_grad()
    def update(self, log_w: Tensor) -> None:
        """Take in `log_w`, of the shape of the others but along `dim`."""
        _checks.tensor("log_w", log_w)
        dim = _dimension(self.dim, log_w)
        self._add("log_w", _ordered.logsumexp(log_w.double(), dim), log_w.shape[dim], _checks.compute_dtype(log_w))

    @torch.no_grad()
    def merge(self, other: LogMeanExp) -> None:
        """Take in what `other` has, which stays as it is: the pieces of another process."""
        if not isinstance(other, LogMeanExp):
            raise TypeError(f"other: expected a LogMeanExp, got {_checks.type_name(other)}")
        if other._log_sum is not None:
            self._add("other", other._log_sum, other.count, other._dtype)

    def compute(self) -> Tensor:
        """The log of the mean of all that came, in the shape of one value along `dim`."""
        if self._log_sum is None or self.count == 0:
            raise ValueError("log_w: expected at least one value before compute, got none")
        return (self._log_sum - math.log(self.count)).to(self._dtype)

    def _add(self, name: str, log_sum: Tensor, count: int, dtype: torch.dtype) -> None:
        if self._log_sum is None:
            self._log_sum = log_sum
        elif self._log_sum.shape != log_sum.shape:
            expected = _checks.shape_text(self._log_sum.shape)
            raise ValueError(f"{name}: expected shape {expected} beside dim, got {_checks.shape_text(log_sum.shape)}")
        else:
            self._log_sum = torch.logaddexp(self._log_sum, log_sum)
        self.count += count
        self._dtype = torch.promote_types(self._dtype, dtype)


def _weights(log_w: Tensor, dim: int) -> tuple[Tensor, int]:
    """The log weights in the type of arithmetic, and `dim` as a number that is not negative."""
    _checks.tensor("log_w", log_w)
    dim = _dimension(dim, log_w)
    if log_w.shape[dim] == 0:
        raise ValueError(f"log_w: expected at least one value along dim {dim}, got {_checks.shape_text(log_w.shape)}")
    return log_w.to(_checks.compute_dtype(log_w)), dim


def _dimension(dim: int, log_w: Tensor) -> int:
    _checks.integer("dim", dim)
    if log_w.dim() == 0:
        raise ValueError("log_w: expected at least one dimension, got a 0-dim Tensor")
    if not -log_w.dim() <= dim < log_w.dim():
        raise ValueError(f"dim: expected a dimension of {_checks.shape_text(log_w.shape)}, got {dim}")
    return dim % log_w.dim()


def _log_mean_power(log_w: Tensor, power: float, dim: int) -> Tensor:
    """1/power · log mean exp(power · log_w), whose limit at power 0 is the mean.

    A centre is taken out: the mean where all terms are close, which is then all but the result, else the largest term.
    Near it log1p of the mean of expm1 keeps the digits that the difference of logsumexp and log K would lose, to which
    division by a small power would give their weight.
    """
    if power == 0:
        return _ordered.mean(log_w, dim)
    least, greatest = log_w.detach().aminmax(dim=dim, keepdim=True)
    mean = _ordered.mean(log_w.detach(), dim).unsqueeze(dim).clamp(least, greatest)  # whose sum may overflow
    close = abs(power) * (greatest - least) < 0.5
    centre = torch.where(close, mean, greatest if power > 0 else least)
    gaps = power * torch.where(centre.isinf(), 0.0, log_w - centre)
    growth = _ordered.mean(_expm1(gaps), dim)
    near = growth > -0.5
    log_sum = _ordered.logsumexp(gaps, dim)
    log_mean = torch.where(near, torch.log1p(torch.where(near, growth, 0.0)), log_sum - math.log(log_w.shape[dim]))
    return centre.squeeze(dim) + log_mean / power


def _expm1(x: Tensor) -> Tensor:
    """expm1 with the gradient exp(x): torch rebuilds it as expm1(x) + 1, without the digits of a small one."""
    e = torch.exp(x)
    return torch.expm1(x).detach() + (e - e.detach())


def _ciwae(log_w: Tensor, beta: float, dim: int) -> Tensor:
    if not 0 <= beta <= 1:
        raise ValueError(f"beta: expected a number in [0, 1], got {beta}")
    # An infinite part of weight 0 is no part.
    if beta in (0, 1):
        return _log_mean_power(log_w, 1.0 - beta, dim)
    return beta * _ordered.mean(log_w, dim) + (1 - beta) * _log_mean_power(log_w, 1.0, dim)


def _reparameterise_doubly(log_w: Tensor, latent: Tensor, dim: int) -> None:
    if latent.shape[: log_w.dim()] != log_w.shape:
        raise ValueError(
            f"latent: expected a shape that begins with that of log_w {_checks.shape_text(log_w.shape)}, "
            f"got {_checks.shape_text(latent.shape)}"
        )
    if not latent.requires_grad:
        return
    largest = log_w.detach().amax(dim, keepdim=True)
    shares = torch.where(largest.isinf(), 0.0, log_w.detach() - largest).softmax(dim)
    shares = shares.reshape(*log_w.shape, *[1] * (latent.dim() - log_w.dim()))
    latent.register_hook(lambda grad: grad * shares.to(grad.dtype))
