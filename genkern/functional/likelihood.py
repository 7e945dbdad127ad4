"""Likelihoods of data: what a decoder's output says about pixels."""

from torch import Tensor

from genkern import _checks
from genkern._library import Operation
from genkern.functional._scale import Clamp, learned_or_constant, sigma_arguments
from genkern.reference import likelihood as reference
from genkern.reference.options import CDFS, Bins, Loss, Sigma, schema

__all__ = ["bernoulli_nll", "discretized_gaussian_nll", "laplace_nll"]

_bernoulli_nll = Operation(
    f"bernoulli_nll(Tensor x, Tensor logits, *, float label_smoothing=0.0, {schema(Loss)}) -> Tensor",
    reference.bernoulli_nll,
)
_laplace_nll = Operation(
    "laplace_nll(Tensor x, Tensor loc, Tensor? scale, float scale_value=0.0, *, bool full=True, "
    f"{schema(Sigma, Loss)}) -> Tensor",
    reference.laplace_nll,
)
_discretized_gaussian_nll = Operation(
    "discretized_gaussian_nll(Tensor x, Tensor loc, Tensor? scale, float scale_value=0.0, *, "
    f'{schema(Bins)}, str cdf="exact", {schema(Sigma, Loss)}) -> Tensor',
    reference.discretized_gaussian_nll,
)


def bernoulli_nll(
    x: Tensor,
    logits: Tensor,
    *,
    label_smoothing: float = 0.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Negative log-likelihood of x under independent Bernoulli variables given by their logits: binary cross-entropy.

    Options that are not listed here are those of `genkern.functional`. By default the result has one value for each
    datum, in nats.

    Parameters
    ----------
    x : Tensor
        Data in [0, 1]; values between the two are targets of the cross-entropy.
    logits : Tensor
        Log odds of 1, of a shape that broadcasts with that of `x`.
    label_smoothing : float
        s in [0, 1]: x is replaced by x (1 - s) + s / 2.

    See Also
    --------
    genkern.nn.BernoulliLikelihood : the same for a VAE
    genkern.nn.BernoulliNLLLoss : the same as a module
    discretized_gaussian_nll : for grey levels

    Notes
    -----
    softplus(l) - x l (Kingma & Welling 2014, appendix C), accurate for every finite logit. An infinite logit gives 0
    with gradients of 0 where it is right and x is exactly 0 or 1, else infinity. The gradients are sigmoid(l) - x by
    the logits and -l by x.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.bernoulli_nll(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1e4]]))
    tensor([10000.6934])
    """
    return _bernoulli_nll(x, logits, label_smoothing, reduction, units, event_ndim)


def laplace_nll(
    x: Tensor,
    loc: Tensor,
    scale: Tensor | float = 0.0,
    *,
    full: bool = True,
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Negative log-likelihood of x under a Laplace distribution: ``|x - loc| / b + log 2b``.

    Options that are not listed here, and the result, are those of `genkern.functional`.

    Parameters
    ----------
    x, loc : Tensor
        Data and locations, of shapes that broadcast.
    scale : Tensor or float
        What `scale_param` turns into the diversity b, as it turns it into sigma for a Gaussian: b = exp(scale / 2) for
        "logvar", exp(scale) for "logstd", scale for "std", its root for "var", softplus(scale) for "softplus". So
        "logvar" is log b^2, while the variance of the distribution is 2 b^2.
    full : bool
        Whether the constant log 2 is included.
    scale_offset : float
        Added to b.

    See Also
    --------
    gaussian_nll : the squared error in place of the absolute one
    genkern.nn.LaplaceLikelihood : the same for a VAE

    Notes
    -----
    The gradient by x and loc is 0 where they are equal.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> gk.laplace_nll(torch.tensor([[1.0, -3.0]]), torch.zeros(1, 2), 2.0, scale_param="std")
    tensor([4.7726])
    """
    sigma = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    return _laplace_nll(x, loc, *learned_or_constant(scale), full, *sigma, reduction, units, event_ndim)


def discretized_gaussian_nll(
    x: Tensor,
    loc: Tensor,
    scale: Tensor | float,
    *,
    bins: int = 256,
    low: float = -1.0,
    high: float = 1.0,
    cdf: str = "exact",
    scale_param: str = "logvar",
    scale_offset: float = 0.0,
    clamp: Clamp | None = None,
    clamp_mode: str = "hard",
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Negative log of the probability that a Gaussian rounds to the grey level x: its mass in the pixel's bin.

    Options that are not listed here are those of `genkern.functional`.

    Parameters
    ----------
    x, loc : Tensor
        Two shapes that broadcast; x holds the centres of `bins` bins, the first at `low`, the last at `high`.
    scale : Tensor or float
        A learned scale of any shape that broadcasts (per element, per channel, 0-dim), or a constant.
    bins : int
        At least 2. A bin reaches from x - h to x + h, h = (high - low) / (2 (bins - 1)); where x is within 0.1 % of
        half the range of one of its ends (within half a bin, if that is less), the bin reaches on to infinity.
    low, high : float
    cdf : {"exact", "tanh"}
        The normal distribution's own, or 1/2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))), with which many diffusion
        models are evaluated: near it to about 2e-4, far from it in the tails.

    Returns
    -------
    Tensor
        Not negative; the masses of all bins add up to 1.

    See Also
    --------
    discretized_logistic_mixture_nll : several components a pixel
    gaussian_nll : for real numbers
    genkern.nn.DiscretizedGaussianLikelihood : the same for a VAE

    Notes
    -----
    Ho et al. 2020, "Denoising diffusion probabilistic models", equation 13; Dhariwal & Nichol 2021 (guided-diffusion)
    for the tails from 0.999 on and the tanh form, here without a floor under the mass. Accurate in log space wherever
    the bin lies; gradients reach x too, whose bin moves along.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> x = torch.linspace(-1, 1, 256).view(256, 1)
    >>> nll = gk.discretized_gaussian_nll(x, torch.tensor(0.3), torch.tensor(-2.0), scale_param="logstd")
    >>> round(nll.neg().exp().sum().item(), 6)
    1.0
    """
    sigma = sigma_arguments(scale_param, scale_offset, clamp, clamp_mode)
    return _discretized_gaussian_nll(
        x, loc, *learned_or_constant(scale), bins, low, high, cdf, *sigma, reduction, units, event_ndim
    )


def grey_levels(bins: int, low: float, high: float, cdf: str = "exact") -> Bins:
    """The options of a discretized likelihood but for its scale, checked, as torch takes them."""
    grey = Bins(bins, low, high).check()
    _checks.choice("cdf", cdf, CDFS)
    return grey
