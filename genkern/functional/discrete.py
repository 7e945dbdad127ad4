"""Entropy and divergence of discrete distributions, from masses or from logits, and relaxed samples of them.

`dim` is the dimension of the K classes. What remains is [batch, event ...]: there is a value an element of it, and
`reduction` and `event_ndim` count its dimensions.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from genkern import _checks, random
from genkern._library import Operation
from genkern.functional import _free_bits
from genkern.functional._noise import Generators, check_learned, source, written_out
from genkern.reference import discrete as reference
from genkern.reference.options import Divergence, Loss, schema

__all__ = ["categorical_entropy", "categorical_kl", "discrete_entropy", "discrete_kl", "gumbel_softmax"]

_discrete_entropy = Operation(
    f"discrete_entropy(Tensor p, *, int dim=-1, {schema(Loss)}) -> Tensor", reference.discrete_entropy
)
_discrete_kl = Operation(
    f"discrete_kl(Tensor p, Tensor q, *, int dim=-1, {schema(Loss)}) -> Tensor", reference.discrete_kl
)
_categorical_entropy = Operation(
    f"categorical_entropy(Tensor logits, *, int dim=-1, {schema(Loss)}) -> Tensor", reference.categorical_entropy
)
_categorical_kl = Operation(
    "categorical_kl(Tensor logits_q, Tensor? logits_p, *, int dim=-1, float unimix=0.0, "
    f"{schema(Divergence, Loss)}) -> Tensor",
    reference.categorical_kl,
)
_gumbel_softmax = Operation(
    "gumbel_softmax(Tensor logits, Tensor? key, Tensor? eps, *, float tau=1.0, bool hard=False, int dim=-1, "
    "SymInt element_offset=0) -> Tensor",
    reference.gumbel_softmax,
    reserve=random.reserve,
    keeps_results=True,
)


def discrete_entropy(
    p: Tensor, *, dim: int = -1, reduction: str = "event", units: str = "nats", event_ndim: int | None = None
) -> Tensor:
    """Entropy -sum p log p of probability vectors.

    Parameters
    ----------
    p : Tensor
        Masses of the K classes along `dim`. That they sum to 1 is the caller's care: the sum is taken as it stands.
    dim : int
        Dimension of the classes.
    reduction, units, event_ndim
        As `genkern.functional` says, the result too; a value for each vector, in the remaining dimensions.

    See Also
    --------
    categorical_entropy : the same of logits, which keeps more digits
    discrete_kl : what the wrong code costs

    Notes
    -----
    Shannon 1948, "A mathematical theory of communication". 0 log 0 = 0: a class without mass is left out, of the
    gradient too; elsewhere that is -(log p + 1). A negative mass gives nan.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.discrete_entropy(torch.tensor([0.5, 0.25, 0.25, 0.0]), units="bits")
    tensor(1.5000)
    """
    return _discrete_entropy(p, dim, reduction, units, event_ndim)


def discrete_kl(
    p: Tensor, q: Tensor, *, dim: int = -1, reduction: str = "event", units: str = "nats", event_ndim: int | None = None
) -> Tensor:
    """KL(p || q) = sum p log(p / q) of probability vectors. It is not symmetric.

    Parameters
    ----------
    p, q : Tensor
        Masses of the K classes along `dim`, of shapes that broadcast. Unnormalised ones are not corrected.
    dim : int
        Dimension of the classes, in the shape that both broadcast to.
    reduction, units, event_ndim
        As in `discrete_entropy`.

    See Also
    --------
    categorical_kl : the same of logits, which keeps more digits
    discrete_entropy

    Notes
    -----
    Kullback & Leibler 1951, "On information and sufficiency". Where p is 0 a class is left out, of the gradients too.
    Where q is 0 and p is not, the divergence is inf; its gradient there is inf for p and -inf for q.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.75, 0.25])
    >>> gk.discrete_kl(p, q, units="bits"), gk.discrete_kl(q, p, units="bits")
    (tensor(0.2075), tensor(0.1887))
    """
    return _discrete_kl(p, q, dim, reduction, units, event_ndim)


def categorical_entropy(
    logits: Tensor, *, dim: int = -1, reduction: str = "event", units: str = "nats", event_ndim: int | None = None
) -> Tensor:
    """Entropy of softmax(logits).

    Parameters
    ----------
    logits : Tensor
        Logits of the K classes along `dim`; -inf means no mass.
    dim, reduction, units, event_ndim
        As in `discrete_entropy`.

    See Also
    --------
    discrete_entropy : the same of probabilities
    categorical_kl : how far from another distribution

    Notes
    -----
    Its gradient is -q (log q + H) with q = softmax(logits), 0 where q is.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.categorical_entropy(torch.zeros(2, 3, 8), units="bits")
    tensor([9., 9.])
    """
    return _categorical_entropy(logits, dim, reduction, units, event_ndim)


def categorical_kl(
    logits_q: Tensor,
    logits_p: Tensor | None = None,
    *,
    dim: int = -1,
    unimix: float = 0.0,
    free_bits: float = 0.0,
    free_bits_over: str = "dim",
    grad_scale_q: float = 1.0,
    grad_scale_p: float = 1.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """KL(q || p) of categorical distributions given by logits, accurate where q is close to p; never negative.

    Parameters
    ----------
    logits_q : Tensor
        q's, of the K classes along `dim`; -inf means no mass.
    logits_p : Tensor, optional
        p's, of a shape that broadcasts; uniform where absent.
    dim : int
        Dimension of the classes, in the shape that both broadcast to.
    unimix : float
        Share u of the uniform distribution: q = (1 - u) softmax(logits_q) + u / K, and p likewise, so that no class is
        without mass.
    free_bits, free_bits_over
        See `genkern.functional`; "dim" is each pair of distributions.
    grad_scale_q, grad_scale_p : float
        Multiply the gradient into q and into p: DreamerV3's balanced pair of losses in one pass.
    reduction, units, event_ndim
        As in `discrete_entropy`.

    See Also
    --------
    discrete_kl : the same of probabilities
    categorical_entropy
    gumbel_softmax : a sample with a gradient

    Notes
    -----
    Hafner et al. 2023, "Mastering diverse domains through world models", equation 5. With r = log(q / p) the divergence
    is the sum of q (exp(-r) - 1 + r), by a series near 0. Where p has no mass (a logit of -inf, no unimix) but q has,
    it is inf; the gradient is then that of the finite part. Kernels take a unimix whose share of a class is below the
    smallest normal number for none.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> logits = torch.tensor([[1.0, 2.0, 4.0]])
    >>> gk.categorical_kl(logits, logits + 100)
    tensor([0.])
    >>> posterior, prior = torch.randn(2, 16, 32, 32, generator=torch.Generator().manual_seed(0)).unbind()
    >>> gk.categorical_kl(posterior, prior, unimix=0.01, grad_scale_q=0.1, grad_scale_p=0.5).shape
    torch.Size([16])
    """
    how = _free_bits.arguments(free_bits, free_bits_over, grad_scale_q, grad_scale_p, reduction, units, event_ndim)
    kl = _categorical_kl(logits_q, logits_p, dim, unimix, *how)
    if free_bits_over == "dim":
        return kl
    shape = reference.rest(_checks.broadcast(logits_q=logits_q, logits_p=logits_p), dim)
    return _free_bits.apply(kl, free_bits, free_bits_over, Loss(reduction, units, event_ndim), shape)


def gumbel_softmax(
    logits: Tensor,
    *,
    tau: Tensor | float = 1.0,
    hard: bool = False,
    dim: int = -1,
    element_offset: int = 0,
    key: Tensor | None = None,
    generator: Generators | None = None,
    eps: Tensor | None = None,
) -> Tensor:
    """A relaxed sample of softmax(logits): softmax((logits + eps) / tau) with Gumbel noise eps.

    Parameters
    ----------
    logits : Tensor
        Logits of the K classes along `dim`; -inf means no mass.
    tau : float or Tensor
        Temperature, not negative. At 0 the sample is one-hot, the first of the largest scores, with gradient 0.
        A learned one is a tensor of shape (), which receives a gradient and must be positive; eps is then in memory.
    hard : bool
        One-hot, with the gradient of the relaxed sample (straight-through).
    dim : int
        Dimension of the classes.
    element_offset, key, generator, eps
        See `genkern.functional`.

    Returns
    -------
    Tensor
        The shape and dtype are those of logits; nan only where logits are nan or inf, or all classes -inf.

    See Also
    --------
    categorical_kl : the divergence of the distribution that is sampled
    genkern.distributions.OneHotCategoricalStraightThrough : one-hot samples without a temperature

    Notes
    -----
    Jang et al. 2017, "Categorical reparameterization with Gumbel-softmax"; Maddison et al. 2017. Element i, in the
    row-major order of logits, takes u_i of the stream of `genkern.random.uniform`, in float32 (float64 for float64),
    and eps_i = -log(-log(1 - v_i)), v_i = min(u_i + 2^-25, 1 - 2^-24) (float64: 2^-54 and 2^-53).

    Examples
    --------
    >>> import genkern as gk, torch
    >>> y = gk.gumbel_softmax(torch.zeros(4, 8), hard=True, key=gk.random.key(42))
    >>> y.argmax(-1)
    tensor([3, 3, 5, 6])
    """
    _checks.tensor("logits", logits)
    noise = source(logits, key, generator, eps, logits.shape, _gumbel)
    if not isinstance(tau, Tensor):
        return _gumbel_softmax(logits, *noise, tau, hard, dim, element_offset)
    check_learned("tau", tau, logits)
    eps = _over(written_out(noise, logits, logits.shape, element_offset, _gumbel), tau)
    y = _gumbel_softmax(_over(logits.to(eps.dtype), tau), None, eps, None, 1.0, hard, dim, 0)
    return y.to(logits.dtype)


def _gumbel(
    key: Tensor, shape: Sequence[int], dtype: torch.dtype, device: torch.device, element_offset: int = 0
) -> Tensor:
    return reference.gumbel(random.uniform(key, shape, dtype=dtype, element_offset=element_offset, device=device))


def _over(scores: Tensor, tau: Tensor) -> Tensor:
    """scores / tau; -inf, which is no mass at every tau, without a gradient."""
    nothing = scores == -torch.inf
    return torch.where(nothing, scores, scores.masked_fill(nothing, 0.0) / tau.to(scores.dtype))
