"""Small encoder/decoder pairs for images of any size, convolutional ones and perceptrons, and a prior of classes.

They are a starting point, not a framework: `genkern.nn.VAE` takes any two modules with the same shapes.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as torch_functional

from genkern import _checks
from genkern.nn._condition import ClassTable, check_tree
from genkern.nn._inputs import check_input, factory

__all__ = ["ClassPrior", "ConvDecoder", "ConvEncoder", "MLPDecoder", "MLPEncoder"]

_SMALLEST_SIDE = 4
_MOST_STAGES = 6


class ConvEncoder(nn.Module):
    """Images to packed Gaussian moments, by convolutions that halve the image until a side has at most 4 pixels.

    Parameters
    ----------
    image_shape : (channels, height, width)
        Shape of one image; any height, width and channel number.
    latent_dim : int
        Latent dimensions.
    width : int
        Channels at full resolution; each halving doubles them, up to 4 × `width`.
    num_classes : int, optional
        Makes the network conditional: ``forward(x, condition)`` adds what it learns of the class in its first layer.

    Attributes
    ----------
    latent_shape : tuple of int
        ``(latent_dim,)``; what `genkern.nn.VAE` samples when it is not told otherwise.

    See Also
    --------
    ConvDecoder : the other side
    MLPEncoder : for data that are no images

    Notes
    -----
    ``forward(x)``: `x` ``[B, channels, height, width]`` → ``[B, 2·latent_dim]``, means first, then log-variances.
    `condition`: labels ``[B]``, or vectors ``[B, num_classes]``. Dtype as the parameters and autocast say.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import ConvEncoder
    >>> ConvEncoder((1, 25, 25), latent_dim=8)(torch.zeros(3, 1, 25, 25)).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        *,
        width: int = 32,
        num_classes: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = checked_image_shape(image_shape)
        latent_dim = _checks.positive("latent_dim", latent_dim)
        width = _checks.positive("width", width)
        made = factory(device, dtype)
        self.latent_shape = (latent_dim,)
        self.features, feature_shape = halving_convolutions(self.image_shape, width, nn.SiLU, made)
        self.moments = nn.Linear(math.prod(feature_shape), 2 * latent_dim, **made)
        self.takes_condition = num_classes is not None
        if num_classes is not None:
            self.classes = ClassTable(num_classes, width, made)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        check_input("x", x, self.image_shape, self)
        return self.moments(with_classes(self, self.features, x, condition).flatten(1))


class ConvDecoder(nn.Module):
    """Latents to images, by nearest-neighbour upsampling and convolutions: the mirror of `ConvEncoder`.

    Parameters
    ----------
    image_shape, latent_dim, width, num_classes
        As `ConvEncoder`.
    out_channels : int, optional
        Channels of the result; ``channels`` by default, ``2·channels`` for a decoder that gives a log-variance for
        every pixel.

    See Also
    --------
    ConvEncoder : the other side
    ConvGenerator : the same for a GAN

    Notes
    -----
    ``forward(z)``: `z` ``[B, latent_dim]`` → ``[B, out_channels, height, width]``, unbounded (means or logits).
    Upsampling to the exact size of each stage, not by a factor of two, is what makes odd sizes such as 25 × 25 come out
    right, and leaves no checkerboard (Odena et al. 2016).

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import ConvDecoder
    >>> ConvDecoder((3, 25, 30), latent_dim=8)(torch.zeros(2, 8)).shape
    torch.Size([2, 3, 25, 30])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        *,
        width: int = 32,
        out_channels: int | None = None,
        num_classes: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        channels, height, width_px = checked_image_shape(image_shape)
        latent_dim = _checks.positive("latent_dim", latent_dim)
        width = _checks.positive("width", width)
        if out_channels is not None:
            out_channels = _checks.positive("out_channels", out_channels)
        made = factory(device, dtype)
        self.latent_shape = (latent_dim,)
        self.sizes = list(reversed(halvings(height, width_px)))
        widths = list(reversed(stage_widths(width, len(self.sizes))))
        self.stem_shape = (widths[0], *self.sizes[0])
        self.stem = nn.Linear(latent_dim, math.prod(self.stem_shape), **made)
        self.stages = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, **made) for before, after in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[-1], out_channels or channels, 3, padding=1, **made)
        self.takes_condition = num_classes is not None
        if num_classes is not None:
            self.classes = ClassTable(num_classes, math.prod(self.stem_shape), made)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        check_input("z", z, self.latent_shape, self)
        h = torch_functional.silu(with_classes(self, self.stem, z, condition).unflatten(1, self.stem_shape))
        for size, stage in zip(self.sizes[1:], self.stages, strict=True):
            h = torch_functional.silu(stage(torch_functional.interpolate(h, size=size, mode="nearest")))
        return self.head(h)


class _Perceptron(nn.Module):
    def __init__(
        self,
        event_shape: Sequence[int],
        latent_dim: int,
        *,
        hidden: Sequence[int] = (256, 256),
        num_classes: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.event_shape = _checks.sizes("event_shape", event_shape, minimum=1)
        if not self.event_shape:
            raise ValueError("event_shape: expected one or more sizes, got ()")
        self.latent_shape = (_checks.positive("latent_dim", latent_dim),)
        hidden = _checks.sizes("hidden", hidden, minimum=1)
        made = factory(device, dtype)
        first, last = self._ends(math.prod(self.event_shape), *self.latent_shape)
        layers: list[nn.Module] = []
        for before, after in pairwise([first, *hidden, last]):
            layers += [nn.Linear(before, after, **made), nn.SiLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.takes_condition = num_classes is not None
        if num_classes is not None:
            self.classes = ClassTable(num_classes, [*hidden, last][0], made)

    def _ends(self, data: int, latent: int) -> tuple[int, int]:
        """Sizes of what goes in and of what comes out."""
        raise NotImplementedError


class MLPEncoder(_Perceptron):
    """Data of any shape to packed Gaussian moments, by a multi-layer perceptron over the flattened datum.

    Parameters
    ----------
    event_shape : sequence of int
        Shape of one datum.
    latent_dim : int
        Latent dimensions.
    hidden : sequence of int
        Width of each hidden layer; empty gives a linear map.
    num_classes : int, optional
        As `ConvEncoder`.

    See Also
    --------
    MLPDecoder : the other side
    ConvEncoder : for images

    Notes
    -----
    ``forward(x)``: ``[B, *event_shape]`` → ``[B, 2·latent_dim]``.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import MLPEncoder
    >>> MLPEncoder((1, 8, 8), latent_dim=2)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 4])
    """

    def _ends(self, data: int, latent: int) -> tuple[int, int]:
        return data, 2 * latent

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        check_input("x", x, self.event_shape, self)
        return with_classes(self, self.layers, x.flatten(1), condition)


class MLPDecoder(_Perceptron):
    """Latents to data of any shape, by a multi-layer perceptron: the mirror of `MLPEncoder`.

    Parameters
    ----------
    event_shape, latent_dim, hidden, num_classes
        As `MLPEncoder`.

    See Also
    --------
    MLPEncoder : the other side
    ConvDecoder : for images

    Notes
    -----
    ``forward(z)``: ``[B, latent_dim]`` → ``[B, *event_shape]``, unbounded.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import MLPDecoder
    >>> MLPDecoder((1, 8, 8), latent_dim=2)(torch.zeros(5, 2)).shape
    torch.Size([5, 1, 8, 8])
    """

    def _ends(self, data: int, latent: int) -> tuple[int, int]:
        return latent, data

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        check_input("z", z, self.latent_shape, self)
        return with_classes(self, self.layers, z, condition).unflatten(1, self.event_shape)


class ClassPrior(nn.Module):
    """A conditional prior p(z | class): a Gaussian with learned moments for each class.

    Parameters
    ----------
    num_classes : int
        Number of classes.
    latent_dim : int or sequence of int
        Latent dimensions, or the shape of a latent ``(latent, ...)``.
    device, dtype
        Device and type of the parameters.

    See Also
    --------
    VAE : takes it as ``prior=``

    Notes
    -----
    ``forward(condition)``: labels ``[B]``, or vectors ``[B, num_classes]``, of which the moments are linear functions,
    → packed moments ``[B, 2·latent, ...]``, for ``VAE(prior=...)`` (Sohn et al. 2015). It begins at N(0, I) for every
    class where scales are logarithms.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import ClassPrior
    >>> ClassPrior(10, 4)(torch.tensor([3, 3, 7])).shape
    torch.Size([3, 8])
    """

    def __init__(
        self,
        num_classes: int,
        latent_dim: int | Sequence[int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = latent_dim if isinstance(latent_dim, Sequence) else (_checks.positive("latent_dim", latent_dim),)
        shape = _checks.sizes("latent_dim", sizes, minimum=1)
        if not shape:
            raise ValueError("latent_dim: expected one or more sizes, got ()")
        self.moments_shape = (2 * shape[0], *shape[1:])
        self.moments = ClassTable(num_classes, math.prod(self.moments_shape), factory(device, dtype), at_random=False)

    def forward(self, condition: Tensor) -> Tensor:
        return self.moments(condition).unflatten(1, self.moments_shape)


def with_classes(network: nn.Module, layers: nn.Module, x: Tensor, condition: Tensor | None) -> Tensor:
    """Layers of `x`, what the table of a conditional network has for the condition added behind the first of them."""
    check_conditional(network, condition)
    if condition is None:
        return layers(x)
    first, *rest = layers if isinstance(layers, nn.Sequential) else [layers]
    h = first(x)
    h = h + network.classes(condition, h.shape[0]).view(h.shape[:2] + (1,) * (h.ndim - 2))  # type: ignore[operator]
    for layer in rest:
        h = layer(h)
    return h


def check_conditional(network: nn.Module, condition: Tensor | None) -> None:
    """A conditional network is given a condition, another is not."""
    if network.takes_condition and condition is None:
        raise ValueError("condition: expected labels or vectors, as num_classes was given, got None")
    if not network.takes_condition and condition is not None:
        check_tree(condition)
        raise ValueError(f"condition: expected None without num_classes, got {_checks.type_name(condition)}")


def halving_convolutions(
    image_shape: tuple[int, int, int], width: int, activation: Callable[[], nn.Module], made: dict[str, Any]
) -> tuple[nn.Sequential, tuple[int, int, int]]:
    """Convolutions from full resolution down, and the shape of what they give."""
    channels, height, width_px = image_shape
    sizes = halvings(height, width_px)
    widths = stage_widths(width, len(sizes))
    layers = [nn.Conv2d(channels, widths[0], 3, padding=1, **made), activation()]
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, **made), activation()]
    return nn.Sequential(*layers), (widths[-1], *sizes[-1])


def halvings(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes from full resolution down; a 3 × 3 convolution with stride 2 and padding 1 rounds halves up."""
    sizes = [(height, width)]
    while min(sizes[-1]) > _SMALLEST_SIDE and len(sizes) <= _MOST_STAGES:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def stage_widths(width: int, stages: int) -> list[int]:
    return [min(width << stage, 4 * width) for stage in range(stages)]


def checked_image_shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    shape = _checks.sizes("image_shape", image_shape, minimum=1)
    if len(shape) != 3:
        raise ValueError(f"image_shape: expected (channels, height, width), got {shape}")
    channels, height, width = shape
    return channels, height, width
