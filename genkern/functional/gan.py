"""Losses, regularisers and averages of generative adversarial networks."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from genkern import _checks, _dtensor, random
from genkern._library import Op, Operation
from genkern.functional._noise import Generators, source, widest
from genkern.reference import gan as reference
from genkern.reference.gan import KINDS as KINDS
from genkern.reference.gan import check_discriminator_options as check_discriminator_options

__all__ = [
    "ema_update_",
    "gan_discriminator_loss",
    "gan_generator_loss",
    "gradient_norm_penalty",
    "interpolate",
    "minibatch_stddev",
    "zero_centered_penalty",
]

_discriminator_loss = Operation(
    "gan_discriminator_loss(Tensor real, Tensor fake, *, str kind, float label_smoothing=0.0, float hinge_scale=1.0, "
    'str reduction="mean") -> Tensor',
    reference.gan_discriminator_loss,
)
_generator_loss = Operation(
    'gan_generator_loss(Tensor? real, Tensor fake, *, str kind, str reduction="mean") -> Tensor',
    reference.gan_generator_loss,
)
_interpolate = Operation(
    "interpolate(Tensor real, Tensor fake, Tensor? key, Tensor? eps, *, SymInt element_offset=0) -> Tensor",
    reference.interpolate,
    reserve=random.reserve,
    noise_by_row=True,
)
_zero_centered_penalty = Operation(
    'zero_centered_penalty(Tensor grad, *, str reduction="mean") -> Tensor', reference.zero_centered_penalty
)
_gradient_norm_penalty = Operation(
    'gradient_norm_penalty(Tensor grad, *, float center=1.0, str reduction="mean") -> (Tensor, Tensor)',
    reference.gradient_norm_penalty,
    keeps_results=True,
)
_minibatch_stddev = Operation(
    "minibatch_stddev(Tensor x, int? group_size=4, int num_channels=1) -> Tensor",
    reference.minibatch_stddev,
    by_rows=False,
)
_ema_update_ = Op("ema_update_(Tensor(a!)[] ema_params, Tensor[] params, float decay) -> ()", reference.ema_update_)


def gan_discriminator_loss(
    *,
    real: Tensor,
    fake: Tensor,
    kind: str,
    label_smoothing: float = 0.0,
    hinge_scale: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """The loss of a discriminator (critic), from its logits.

    ================== ===========================================================
    kind               loss
    ================== ===========================================================
    ``minimax``,       E softplus(-real) + E softplus(fake)
    ``non_saturating``
    ``hinge``          hinge_scale (E relu(1 - real) + E relu(1 + fake))
    ``lsgan``          E (real - 1)^2 / 2 + E fake^2 / 2
    ``wgan``           E fake - E real
    ``relativistic``   E softplus(fake - real)
    ================== ===========================================================

    Parameters
    ----------
    real, fake : Tensor
        Logits of real and of generated data, of any shape, and not as many of one as of the other; for ``relativistic``
        in pairs, of one shape.
    kind : str
        As above.
    label_smoothing : float
        From 0 to 1. Real data have the label 1 - label_smoothing instead of 1 (one-sided, Salimans et al. 2016), for
        ``minimax``, ``non_saturating`` and ``lsgan``.
    hinge_scale : float
        For ``hinge``.
    reduction : {"mean", "sum", "none"}
        Means, or sums, over the real and over the fake logits apart; "none": elementwise, for one shape.

    Returns
    -------
    Tensor
        0-dim, or of the logits' shape; float32 or wider.

    See Also
    --------
    gan_generator_loss : the other side
    genkern.nn.GAN : both, with a penalty and an average
    genkern.nn.GANDiscriminatorLoss : the same as a module

    Notes
    -----
    No sigmoid is taken, so logits may be as large as numbers are. Goodfellow et al. 2014; Lim & Ye 2017 (hinge); Mao et
    al. 2017 (least squares); Arjovsky et al. 2017 (Wasserstein); Jolicoeur-Martineau 2018 and Huang et al. 2024
    (relativistic pairs, as in R3GAN).

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.gan_discriminator_loss(real=torch.zeros(4), fake=torch.zeros(8), kind="hinge")
    tensor(2.)
    """
    return _discriminator_loss(real, fake, kind, label_smoothing, hinge_scale, reduction)


def gan_generator_loss(*, fake: Tensor, kind: str, real: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """The loss of a generator, from the discriminator's logits.

    ================== =====================
    kind               loss
    ================== =====================
    ``minimax``        -E softplus(fake)
    ``non_saturating`` E softplus(-fake)
    ``hinge``,         -E fake
    ``wgan``
    ``lsgan``          E (fake - 1)^2 / 2
    ``relativistic``   E softplus(real - fake)
    ================== =====================

    Parameters
    ----------
    fake : Tensor
        Logits of generated data, of any shape.
    kind : str
        As above.
    real : Tensor, optional
        Logits of real data, of the same shape, for ``relativistic``. No other kind reads them, or gives them a
        gradient.
    reduction : {"mean", "sum", "none"}
        "none": elementwise.

    Returns
    -------
    Tensor
        0-dim, or of the logits' shape; float32 or wider.

    See Also
    --------
    gan_discriminator_loss : the other side
    genkern.nn.GAN : both, with a penalty and an average
    genkern.nn.GANGeneratorLoss : the same as a module

    Notes
    -----
    Sources: see `gan_discriminator_loss`.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.gan_generator_loss(fake=torch.zeros(8, 1), kind="non_saturating")  # log 2
    tensor(0.6931)
    """
    if kind != "relativistic":
        _checks.tensor("real", real, optional=True)
        real = None
    return _generator_loss(real, fake, kind, reduction)


def interpolate(
    real: Tensor,
    fake: Tensor,
    *,
    key: Tensor | None = None,
    generator: Generators | None = None,
    eps: Tensor | None = None,
    element_offset: int = 0,
) -> Tensor:
    """Points on the lines between real and generated samples: eps real + (1 - eps) fake, one uniform eps a sample.

    Parameters
    ----------
    real, fake : Tensor
        Samples of one shape, ``[B, ...]``.
    key : Tensor, optional
        Makes eps: sample b has element `element_offset` + b of ``gk.random.uniform(key, ...)``, in the type of
        arithmetic, the same on every device. `generator`: see `genkern.functional`.
    eps : Tensor, optional
        ``[B]``, the numbers themselves, with a gradient.
    element_offset : int
        Index of the first sample: a rank passes the number of samples that others hold before it.

    Returns
    -------
    Tensor
        The samples' shape and, between two dtypes, the wider.

    See Also
    --------
    gradient_norm_penalty : the penalty of the gradient there

    Notes
    -----
    The penalty of Gulrajani et al. 2017 ("Improved training of Wasserstein GANs") takes the critic's gradient there;
    that of DRAGAN (Kodali et al. 2017) takes it between real data and perturbed real data.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.interpolate(torch.ones(3, 2), torch.zeros(3, 2), key=gk.random.key(42))[:, 0]
    tensor([0.9177, 0.9581, 0.7473])
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        _checks.tensor("real", real)
        _checks.tensor("fake", fake)
        key, eps, generator = source(widest(real, fake), key, generator, eps, real.shape[:1], random.uniform)
    else:
        key, eps, generator = source(real, key, generator, eps)
    return _interpolate(real, fake, key, eps, generator, element_offset)


def gradient_norm_penalty(grad: Tensor, *, center: float = 1.0, reduction: str = "mean") -> Tensor:
    """(norm - center)^2 of each sample's gradient: the penalty of WGAN-GP and DRAGAN, without its factor.

    Parameters
    ----------
    grad : Tensor
        The discriminator's gradient by its input, ``[B, ...]``, made with ``create_graph=True``. The norm is over all
        but the first dimension.
    center : float
        1 for both papers, 0 for a penalty of any slope.
    reduction : {"mean", "sum", "none"}
        Over samples; "none": ``[B]``.

    Returns
    -------
    Tensor
        float32 or wider.

    See Also
    --------
    interpolate : where WGAN-GP takes the gradient
    zero_centered_penalty : R1 and R2

    Notes
    -----
    The gradient of a norm of 0 is 0. Gulrajani et al. 2017, equation 3.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.gradient_norm_penalty(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), reduction="none")
    tensor([16.,  0.])
    """
    return _gradient_norm_penalty(grad, center, reduction)[0]


def zero_centered_penalty(grad: Tensor, *, reduction: str = "mean") -> Tensor:
    """The squared norm of each sample's gradient: R1 on real data, R2 on generated; times gamma / 2 it is the penalty.

    Parameters
    ----------
    grad : Tensor
        The discriminator's gradient by its input, ``[B, ...]``, made with ``create_graph=True``.
    reduction : {"mean", "sum", "none"}
        Over samples; "none": ``[B]``.

    Returns
    -------
    Tensor
        float32 or wider.

    See Also
    --------
    gradient_norm_penalty : WGAN-GP and DRAGAN
    genkern.nn.GAN : takes ``penalty="r1"``

    Notes
    -----
    Mescheder et al. 2018, "Which training methods for GANs do actually converge?", equation 9.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> x = torch.ones(2, 3, requires_grad=True)
    >>> (grad,) = torch.autograd.grad((x * x).sum(), x, create_graph=True)
    >>> gk.zero_centered_penalty(grad).item()
    12.0
    """
    return _zero_centered_penalty(grad, reduction)


def minibatch_stddev(x: Tensor, group_size: int | None = 4, num_channels: int = 1) -> Tensor:
    """Append channels that tell the discriminator how much the samples of a group differ.

    Parameters
    ----------
    x : Tensor
        Features, ``[N, C, ...]``.
    group_size : int, optional
        The most members a group may have; None: the batch is one group.
    num_channels : int
        F, a divisor of C: as many statistics, each of C / F neighbouring channels.

    Returns
    -------
    Tensor
        ``[N, C + F, ...]``, contiguous, of the dtype of `x`; channel C + f is constant over a sample, the mean over
        channels and positions of the standard deviation over the group.

    See Also
    --------
    genkern.nn.MinibatchStddev : the same as a module

    Notes
    -----
    There are M = ceil(N / group_size) groups, and sample n belongs to group n mod M: n, n + M, n + 2M, ... Where
    group_size divides N, that is StyleGAN2's and StyleGAN3's layer; where it does not, some groups have a member less
    than others, and none has more than group_size. The variance is that of the population, with 1e-8 added before the
    square root; arithmetic is in float32 or wider. Twice differentiable (through the definition), as R1 asks.
    Karras et al. 2018, "Progressive growing of GANs", section 3.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> x = torch.tensor([0.0, 1.0, 2.0, 5.0]).view(4, 1, 1, 1)
    >>> gk.minibatch_stddev(x, group_size=2)[:, 1, 0, 0]  # groups (0, 2) and (1, 5)
    tensor([1., 2., 1., 2.])
    """
    return _minibatch_stddev(x, group_size, num_channels)


def ema_update_(ema_params: Iterable[Tensor], params: Iterable[Tensor], decay: float) -> None:
    """Move averages towards parameters, in place: ema = decay ema + (1 - decay) param, of all tensors at once.

    Parameters
    ----------
    ema_params : iterable of Tensor
        The averages, such as ``ema_model.parameters()``.
    params : iterable of Tensor
        As many, of the same shapes and on the same device; the dtypes may differ.
    decay : float
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, with its index, what was expected and what came.

    See Also
    --------
    genkern.nn.GAN : keeps such an average of its generator

    Notes
    -----
    One launch for up to 800 tensors. Arithmetic is in float32, or in float64 where either of two tensors has it, as
    ema + (1 - decay) (param - ema), so an average of equal numbers does not drift; the result is rounded once. Nothing
    is recorded for autograd. Buffers such as a running mean are no averages: copy them. DTensors of one placement are
    updated where they are.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> average, parameter = torch.zeros(2), torch.ones(2)
    >>> gk.ema_update_([average], [parameter], 0.75)
    >>> average
    tensor([0.2500, 0.2500])
    """
    averages, values = _tensors("ema_params", ema_params), _tensors("params", params)
    if _dtensor.given([*averages, *values]):
        averages, values = _locals(averages, values)
    with torch.no_grad():
        _ema_update_(averages, values, decay)


def _tensors(name: str, values: object) -> list[Tensor]:
    if not isinstance(values, Iterable) or isinstance(values, Tensor | str | bytes | dict):
        raise TypeError(f"{name}: expected a list of Tensors, got {_checks.type_name(values)}")
    return list(values)


def _locals(averages: list[Any], values: list[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """The parts of DTensors that this rank holds, pair by pair."""
    for i, (average, value) in enumerate(zip(averages, values, strict=False)):
        places = [getattr(t, "placements", None) for t in (average, value)]
        if places[0] != places[1]:
            raise ValueError(f"params[{i}]: expected placements {places[0]} as ema_params[{i}], got {places[1]}")
    lists = [[t.to_local() if _dtensor.given((t,)) else t for t in tensors] for tensors in (averages, values)]
    return lists[0], lists[1]
