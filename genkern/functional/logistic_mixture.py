"""Images under a mixture of discretized logistics (PixelCNN++): likelihood and samples."""

import torch
from torch import Tensor

from genkern import _checks, random
from genkern._library import Operation
from genkern.functional._noise import Generators, source, written_out
from genkern.reference import logistic_mixture as reference
from genkern.reference.logistic_mixture import colours_of as colours_of
from genkern.reference.logistic_mixture import unpack as unpack
from genkern.reference.options import Bins, Loss, Sigma, schema
from genkern.reference.scale import clamp, constant

__all__ = ["discretized_logistic_mixture_nll", "discretized_logistic_mixture_sample"]

_nll = Operation(
    f"discretized_logistic_mixture_nll(Tensor x, Tensor params, *, int mixtures, {schema(Bins)}, int channel_dim=1, "
    f"bool rgb_coupling=True, float min_log_scale=-7.0, {schema(Loss)}) -> Tensor",
    reference.discretized_logistic_mixture_nll,
)


def discretized_logistic_mixture_nll(
    x: Tensor,
    params: Tensor,
    *,
    mixtures: int,
    bins: int = 256,
    low: float = -1.0,
    high: float = 1.0,
    channel_dim: int = 1,
    rgb_coupling: bool = True,
    min_log_scale: float = -7.0,
    reduction: str = "event",
    units: str = "nats",
    event_ndim: int | None = None,
) -> Tensor:
    """Negative log-likelihood of images under a mixture of discretized logistics, as in PixelCNN++.

    A pixel's channels share the choice of one of M = `mixtures` components. Under a component, each channel has a
    logistic distribution whose mass falls into `bins` bins, centred at equally spaced values from `low` to `high`. With
    coupling, the mean of green moves with the red of x, and that of blue with its red and green.

    Parameters
    ----------
    x : Tensor
        Data, with C channels along `channel_dim`, 3 with coupling; every value the centre of its bin.
    params : Tensor
        The shape is that of x, or broadcasts with it, but for the channels. With coupling there are 10 M: M mixture
        logits, then for each of the 3 colours M means, M log-scales and M coupling coefficients before their tanh: the
        coefficients of red move the mean of green by the red of x, those of green the mean of blue by red, those of
        blue the mean of blue by green. Without coupling there are M + 2 C M: M logits, then for each channel M means
        and M log-scales.
    mixtures : int
        M.
    bins : int
        At least 2. Half a bin is h = (high - low) / (2 (bins - 1)). The outermost bins reach to infinity; they hold
        the values within 0.1 % of half the range from its ends, or beyond.
    low, high : float
        The centres of the first and the last bin.
    channel_dim : int
        The dimension of the channels in both tensors. Where it is the last one, as in PixelCNN++, or the tensors are
        channels-last in memory, they are read and their gradients written in place.
    rgb_coupling : bool
        Whether there are coefficients.
    min_log_scale : float
        Log-scales below it are raised to it and receive no gradient.
    reduction, units, event_ndim
        See `genkern.functional`. Over pixels: the shape of x without its channels, whose last dimensions `event_ndim`
        counts. "none" gives a value a pixel, "mean" is the mean over pixels. "bits_per_dim" counts every channel of
        a pixel, with each of the reductions.

    See Also
    --------
    discretized_logistic_mixture_sample : draws
    discretized_gaussian_nll : one Gaussian a pixel
    genkern.nn.DiscretizedLogisticMixtureLikelihood : the same for a VAE

    Notes
    -----
    Salimans, Karpathy, Chen & Kingma 2017, "PixelCNN++", section 2. For a bin from a to b in units of the scale

        log mass = log sigmoid(b) + log sigmoid(-a) + log(1 - exp(a - b))

    which is exact in both tails. PixelCNN++ takes the density at the centre where a mass is below 1e-5; here nothing is
    approximated (docs/numerics.md).

    The order of channels with coupling is that of PixelCNN++ (`channel_dim=-1`), of its ports and of NVAE
    (`channel_dim=1`): none is to be permuted. For one channel without coupling it is that of the ports, too. Parameters
    in another order, as [B, kind, M, H, W], go to [B, channel, kind, M, H, W] by ``permute`` and are flattened.

    The gradient by x is the derivative of the formula as it stands, through the bins and through the coupled means; at
    the boundary of the outermost bins, where the formula jumps, it is that of the side on which x lies.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> x = torch.randint(256, (2, 3, 8, 8)) / 127.5 - 1
    >>> params = torch.randn(2, 100, 8, 8)
    >>> gk.discretized_logistic_mixture_nll(x, params, mixtures=10, units="bits_per_dim").shape
    torch.Size([2])
    >>> grey = torch.zeros(1, 1, 1, 1)  # one logistic of scale 1 at 0: the bin's mass is about h / 2
    >>> gk.discretized_logistic_mixture_nll(grey, torch.zeros(1, 3, 1, 1), mixtures=1, rgb_coupling=False)
    tensor([6.2344])
    """
    return _nll(
        x, params, mixtures, bins, low, high, channel_dim, rgb_coupling, min_log_scale, reduction, units, event_ndim
    )


@torch.no_grad()
def discretized_logistic_mixture_sample(
    params: Tensor,
    *,
    mixtures: int,
    low: float = -1.0,
    high: float = 1.0,
    channel_dim: int = 1,
    rgb_coupling: bool = True,
    min_log_scale: float = -7.0,
    element_offset: int = 0,
    key: Tensor | None = None,
    generator: Generators | None = None,
    eps: Tensor | None = None,
) -> Tensor:
    """Draw images from a mixture of discretized logistics.

    A component is chosen for each pixel, then its channels are drawn one after the other, each moved by those before
    it where there is coupling. As in PixelCNN++ the values are those of the continuous logistics, clamped to
    [low, high]; they are not rounded to the centres of bins.

    Parameters
    ----------
    params, mixtures, low, high, channel_dim, rgb_coupling, min_log_scale
        As in `discretized_logistic_mixture_nll`.
    element_offset : int
        Index of the first element of the sample in a larger one, a multiple of C: a rank that holds rows r, r + 1, ...
        of a global batch passes r times the number of values of an image.
    key, generator
        See `genkern.functional`.
    eps : Tensor, optional
        The noise itself: uniform numbers of the shape of the pixels and 1 + C behind it. Those of a pixel are, in
        this order, for its component and for each of its channels. From a key they are
        ``gk.random.uniform(key, shape, element_offset=element_offset // C * (1 + C))``, the pixels in the order of
        dimensions, whatever the memory layout and wherever the channels lie.

    Returns
    -------
    Tensor
        Shape and dtype are those of params, but for C channels. No gradient. Samples of one key differ from device to
        device by the rounding of exp and log alone.

    See Also
    --------
    discretized_logistic_mixture_nll : how probable images are

    Notes
    -----
    The component is the first m with u < w_1 + ... + w_m; a channel is mean + scale (log u - log(1 - u)).

    Examples
    --------
    >>> import genkern as gk, torch
    >>> params = torch.randn(2, 100, 8, 8)
    >>> x = gk.discretized_logistic_mixture_sample(params, mixtures=10, key=gk.random.key(1))
    >>> x.shape, bool((x.abs() <= 1).all())
    (torch.Size([2, 3, 8, 8]), True)
    """
    mixtures, channel_dim = _checks.integer("mixtures", mixtures), _checks.integer("channel_dim", channel_dim)
    min_log_scale = _checks.number("min_log_scale", min_log_scale)
    rgb_coupling = _checks.boolean("rgb_coupling", rgb_coupling)
    element_offset = _checks.integer("element_offset", element_offset, minimum=0)
    grey = Bins(low=low, high=high)
    low, high = grey.check_range()
    channel = reference.check_params(params, mixtures, grey, channel_dim, rgb_coupling, min_log_scale)
    colours = colours_of(params, mixtures, channel, rgb_coupling)
    if element_offset % colours:
        raise ValueError(f"element_offset: expected a multiple of {colours}, the channels, got {element_offset}")
    dtype = _checks.compute_dtype(params)
    pixels = params.shape[:channel] + params.shape[channel + 1 :]
    first = element_offset // colours * (1 + colours)
    shape = (*pixels, 1 + colours)
    _checks.key("key", key, device=params.device, optional=True)
    noise = source(params, key, generator, eps, shape, random.uniform)
    uniform = written_out(noise, params, shape, first, random.uniform)
    if tuple(uniform.shape) != shape:
        raise ValueError(f"eps: expected shape {_checks.shape_text(shape)}, got {_checks.shape_text(uniform.shape)}")
    _checks.same_device(params=params, eps=uniform)
    uniform = uniform.movedim(-1, 0)
    logits, means, log_scales, coefficients = unpack(params.to(dtype), mixtures, channel, rgb_coupling)
    cumulative = torch.softmax(logits, 0).cumsum(0)
    component = (uniform[0] * cumulative[-1] >= cumulative).sum(0).clamp(max=mixtures - 1)
    index = component.expand(colours, 1, *pixels)

    def chosen(values: Tensor) -> Tensor:
        return values.gather(1, index).squeeze(1)

    low, high = constant(low, dtype), constant(high, dtype)
    scale = torch.exp(clamp(chosen(log_scales), Sigma(clamp_lo=min_log_scale)))
    values = list(chosen(means) + scale * (torch.log(uniform[1:]) - torch.log1p(-uniform[1:])))
    values = [torch.where(cumulative[-1].isnan(), cumulative[-1], v) for v in values]  # of logits that choose none
    if rgb_coupling:
        by_red, blue_by_red, blue_by_green = torch.tanh(chosen(coefficients))
        values[0] = values[0].clamp(low, high)
        values[1] = (values[1] + by_red * values[0]).clamp(low, high)
        values[2] = values[2] + blue_by_red * values[0] + blue_by_green * values[1]
    return torch.stack(values, channel).clamp(low, high).to(params.dtype)
