"""A small generator and discriminator for images of any size, to start from: `genkern.nn.GAN` takes any two."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as torch_functional

from genkern import _checks, functional
from genkern.nn._condition import ClassTable
from genkern.nn._inputs import check_input, factory
from genkern.nn.networks import (
    check_conditional,
    checked_image_shape,
    halving_convolutions,
    halvings,
    stage_widths,
    with_classes,
)

__all__ = ["ConditionalBatchNorm2d", "ConvDiscriminator", "ConvGenerator", "MinibatchStddev"]

_SLOPE = 0.2  # of leaky rectifiers, as in DCGAN
_EPS = 1e-8
NORMS = ("pixel", "batch")
CONDITIONALS = ("projection", "auxiliary")


class ConvGenerator(nn.Module):
    """Latents to images with values in [0, 1], by nearest-neighbour upsampling and convolutions.

    Parameters
    ----------
    image_shape, latent_dim, width
        As `ConvEncoder`, whose ``latent_shape`` it has.
    num_classes : int, optional
        Makes the network conditional, ``forward(z, condition)``: each class has its own gain and bias for each channel
        of each stage, and its own addition to the first layer.
    norm : {"pixel", "batch"}
        Features of each pixel are brought to a mean square of 1 (Karras et al. 2018, "Progressive growing of GANs",
        section 4.2), so that no datum depends on another; or those of a batch to mean 0 and variance 1, by
        `ConditionalBatchNorm2d`.

    See Also
    --------
    ConvDiscriminator : the other side
    GAN : both

    Notes
    -----
    ``forward(z)``: `z` ``[B, latent_dim]`` → ``[B, channels, height, width]``. The latent is brought to a mean square
    of 1. `condition`: labels ``[B]``, or vectors ``[B, num_classes]``.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import ConvGenerator
    >>> ConvGenerator((3, 25, 30), latent_dim=8)(torch.zeros(2, 8)).shape
    torch.Size([2, 3, 25, 30])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        *,
        width: int = 32,
        num_classes: int | None = None,
        norm: str = "pixel",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        channels, height, width_px = checked_image_shape(image_shape)
        latent_dim = _checks.positive("latent_dim", latent_dim)
        width = _checks.positive("width", width)
        _checks.choice("norm", norm, NORMS)
        made = factory(device, dtype)
        self.latent_shape = (latent_dim,)
        self.sizes = list(reversed(halvings(height, width_px)))
        widths = list(reversed(stage_widths(width, len(self.sizes))))
        self.stem_shape = (widths[0], *self.sizes[0])
        self.stem = nn.Linear(latent_dim, math.prod(self.stem_shape), **made)
        self.stages = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, **made) for before, after in pairwise([widths[0], *widths])
        )
        self.head = nn.Conv2d(widths[-1], channels, 3, padding=1, **made)
        self.takes_condition = num_classes is not None
        if num_classes is not None:
            self.classes = ClassTable(num_classes, math.prod(self.stem_shape), made)
        self.by_pixel = norm == "pixel"
        kind = _PixelNorm if self.by_pixel else ConditionalBatchNorm2d
        self.norms = nn.ModuleList(kind(channels, num_classes, **made) for channels in widths)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        check_input("z", z, self.latent_shape, self)
        h = with_classes(self, self.stem, _normalized(z), condition).unflatten(1, self.stem_shape)
        h = _normalized(_rectified(h))
        for size, stage, norm in zip(self.sizes, self.stages, self.norms, strict=True):
            h = torch_functional.interpolate(h, size=size, mode="nearest") if h.shape[2:] != size else h
            h = stage(h)
            h = norm(_rectified(h), condition) if self.by_pixel else _rectified(norm(h, condition))
        return torch.sigmoid(self.head(h))


class ConvDiscriminator(nn.Module):
    """Images to one logit each, by convolutions that halve the image until a side has at most 4 pixels.

    Parameters
    ----------
    image_shape, width
        As `ConvEncoder`.
    minibatch_stddev : bool
        Whether `genkern.minibatch_stddev` of the features tells it how much the images of a group differ.
    num_classes : int, optional
        Makes it the discriminator of a conditional GAN.
    conditional : {"projection", "auxiliary"}
        With "projection" it takes the class, ``forward(x, condition)``, and adds to each logit the product of what it
        learns of the class and the sum of the last features over pixels (Miyato & Koyama 2018, equation 3). With
        "auxiliary" it names the class, ``forward(x)`` → logits ``[B]`` and logits of classes ``[B, num_classes]``
        (Odena et al. 2017).

    See Also
    --------
    ConvGenerator : the other side
    GAN : both

    Notes
    -----
    ``forward(x)``: `x` ``[B, channels, height, width]`` → logits ``[B]``; ``classify(features(x))``, in two parts for
    `VAEGAN`. `condition`: labels ``[B]``, or vectors ``[B, num_classes]``. There is no normalisation, and
    derivatives of all orders.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import ConvDiscriminator
    >>> ConvDiscriminator((1, 25, 25))(torch.zeros(3, 1, 25, 25)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        width: int = 32,
        minibatch_stddev: bool = True,
        num_classes: int | None = None,
        conditional: str = "projection",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = checked_image_shape(image_shape)
        width = _checks.positive("width", width)
        _checks.choice("conditional", conditional, CONDITIONALS)
        statistics = [MinibatchStddev()] if _checks.boolean("minibatch_stddev", minibatch_stddev) else []
        made = factory(device, dtype)
        self.convolutions, self.feature_shape = halving_convolutions(
            self.image_shape, width, lambda: nn.LeakyReLU(_SLOPE), made
        )
        channels = self.feature_shape[0]
        self.head = nn.Sequential(
            *statistics,
            nn.Conv2d(channels + len(statistics), channels, 3, padding=1, **made),
            nn.LeakyReLU(_SLOPE),
            nn.Flatten(),
            nn.Linear(math.prod(self.feature_shape), 1, **made),
        )
        self.takes_condition = num_classes is not None and conditional == "projection"
        self.classifier: nn.Linear | None = None
        if num_classes is not None and conditional == "projection":
            self.classes = ClassTable(num_classes, channels, made)
        elif num_classes is not None:
            num_classes = _checks.positive("num_classes", num_classes)
            self.classifier = nn.Linear(math.prod(self.feature_shape), num_classes, **made)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        return self.classify(self.features(x), condition)

    def features(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, C, h, w]``, h and w about 4."""
        check_input("x", x, self.image_shape, self)
        return self.convolutions(x)

    def classify(self, features: Tensor, condition: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        """Logits ``[B]`` of features, and those of classes, where it has an auxiliary classifier."""
        check_input("features", features, self.feature_shape, self)
        check_conditional(self, condition)
        last = self.head[:-1](features)
        logits = self.head[-1](last).flatten()
        if condition is not None:
            pooled = last.unflatten(1, (-1, *self.feature_shape[1:])).sum(dim=(2, 3))
            logits = logits + (self.classes(condition, pooled.shape[0]) * pooled).sum(dim=1)
        return logits if self.classifier is None else (logits, self.classifier(last))


class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation with a gain and a bias a channel for each class (Dumoulin et al. 2017; de Vries et al. 2017).

    Parameters
    ----------
    channels : int
        Channels of the features.
    num_classes : int, optional
        Number of classes; None: one gain and bias for all.
    momentum : float
        Share of a batch in the running statistics, which evaluation mode takes.
    device, dtype
        Device and type of the parameters.

    See Also
    --------
    ConvGenerator : has it with ``norm="batch"``

    Notes
    -----
    ``forward(x, condition)``: `x` ``[B, channels, H, W]``, labels ``[B]`` or vectors ``[B, num_classes]`` → as `x`.
    Gains begin at 1, biases at 0. Statistics are those of the process's own batch.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import ConditionalBatchNorm2d
    >>> ConditionalBatchNorm2d(8, 10)(torch.rand(4, 8, 5, 5), torch.tensor([0, 9, 3, 3])).shape
    torch.Size([4, 8, 5, 5])
    """

    def __init__(
        self,
        channels: int,
        num_classes: int | None = None,
        *,
        momentum: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        channels = _checks.positive("channels", channels)
        momentum = _checks.fraction("momentum", momentum)
        made = factory(device, dtype)
        self.norm = nn.BatchNorm2d(channels, momentum=momentum, affine=num_classes is None, **made)
        self.modulation = _Modulation(channels, num_classes, made)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        _checks.tensor("x", x)
        check_input("x", x, (self.norm.num_features, *x.shape[2:]), self)
        if x.ndim != 4:
            raise ValueError(f"x: expected shape (B, channels, H, W), got {_checks.shape_text(x.shape)}")
        return self.modulation(self.norm(x), condition)


class MinibatchStddev(nn.Module):
    """Appends channels that tell the discriminator how much the samples of a group differ.

    Parameters
    ----------
    group_size, num_channels
        As `genkern.minibatch_stddev`, whose shapes, gradients and errors ``forward(x)`` has.

    See Also
    --------
    genkern.minibatch_stddev : the operation
    ConvDiscriminator : has it

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import MinibatchStddev
    >>> MinibatchStddev()(torch.zeros(8, 3, 4, 4)).shape
    torch.Size([8, 4, 4, 4])
    """

    def __init__(self, group_size: int | None = 4, num_channels: int = 1) -> None:
        super().__init__()
        group_size = _checks.integer("group_size", group_size, optional=True, minimum=1)
        num_channels = _checks.integer("num_channels", num_channels, minimum=1)
        self.group_size = group_size
        self.num_channels = num_channels

    def extra_repr(self) -> str:
        return f"group_size={self.group_size}, num_channels={self.num_channels}"

    def forward(self, x: Tensor) -> Tensor:
        return functional.minibatch_stddev(x, self.group_size, self.num_channels)


class _Modulation(nn.Module):
    """A gain and a bias a channel, those of the class."""

    def __init__(self, channels: int, num_classes: int | None, made: dict[str, Any]) -> None:
        super().__init__()
        self.takes_condition = num_classes is not None
        if num_classes is not None:
            self.classes = ClassTable(num_classes, 2 * channels, made, at_random=False)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        check_conditional(self, condition)
        if condition is None:
            return x
        gain, bias = self.classes(condition, x.shape[0])[..., None, None].chunk(2, dim=1)
        return x * (1 + gain) + bias


class _PixelNorm(nn.Module):
    """Features brought to a mean square of 1 at each pixel, then the gain and the bias of the class."""

    def __init__(self, channels: int, num_classes: int | None, **made: Any) -> None:
        super().__init__()
        self.modulation = _Modulation(channels, num_classes, made)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        return self.modulation(_normalized(x), condition)


def _rectified(x: Tensor) -> Tensor:
    return torch_functional.leaky_relu(x, _SLOPE)


def _normalized(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + _EPS)
