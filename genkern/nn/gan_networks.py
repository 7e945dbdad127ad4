"""A small generator and discriminator for images of any size, to start from: :class:`genkern.nn.GAN` takes any two."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as torch_functional

from genkern import _checks, functional
from genkern.nn._inputs import check_input, factory
from genkern.nn.networks import checked_image_shape, halving_convolutions, halvings, stage_widths

__all__ = ["ConvDiscriminator", "ConvGenerator", "MinibatchStddev"]

_SLOPE = 0.2  # of leaky rectifiers, as in DCGAN
_EPS = 1e-8


class ConvGenerator(nn.Module):
    """Latents to images with values in [0, 1], by nearest-neighbour upsampling and convolutions.

    Parameters
    ----------
    image_shape, latent_dim, width
        As :class:`ConvEncoder`, whose ``latent_shape`` it has.

    Notes
    -----
    ``forward(z)``: `z` ``[B, latent_dim]`` → ``[B, channels, height, width]``. The latent and the features of each
    pixel are brought to a mean square of 1 (Karras et al. 2018, "Progressive growing of GANs", section 4.2), so no
    datum depends on another.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        channels, height, width_px = checked_image_shape(image_shape)
        latent_dim = _checks.positive("latent_dim", latent_dim)
        width = _checks.positive("width", width)
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

    def forward(self, z: Tensor) -> Tensor:
        check_input("z", z, self.latent_shape, self)
        h = _normalized(_rectified(self.stem(_normalized(z)).unflatten(1, self.stem_shape)))
        for size, stage in zip(self.sizes, self.stages, strict=True):
            h = torch_functional.interpolate(h, size=size, mode="nearest") if h.shape[2:] != size else h
            h = _normalized(_rectified(stage(h)))
        return torch.sigmoid(self.head(h))


class ConvDiscriminator(nn.Module):
    """Images to one logit each, by convolutions that halve the image until a side has at most 4 pixels.

    Parameters
    ----------
    image_shape, width
        As :class:`ConvEncoder`.
    minibatch_stddev : bool
        Whether :func:`genkern.minibatch_stddev` of the features tells it how much the images of a group differ.

    Notes
    -----
    ``forward(x)``: `x` ``[B, channels, height, width]`` → logits ``[B]``; ``classify(features(x))``, in two parts for
    :class:`VAEGAN`. There is no normalisation, and derivatives of all orders.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = checked_image_shape(image_shape)
        width = _checks.positive("width", width)
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

    def forward(self, x: Tensor) -> Tensor:
        return self.classify(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Feature maps ``[B, C, h, w]``, h and w about 4."""
        check_input("x", x, self.image_shape, self)
        return self.convolutions(x)

    def classify(self, features: Tensor) -> Tensor:
        """Logits ``[B]`` of features."""
        check_input("features", features, self.feature_shape, self)
        return self.head(features).flatten()


class MinibatchStddev(nn.Module):
    """Appends channels that tell the discriminator how much the samples of a group differ.

    Parameters
    ----------
    group_size, num_channels
        As :func:`genkern.minibatch_stddev`, whose shapes, gradients and errors ``forward(x)`` has.

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


def _rectified(x: Tensor) -> Tensor:
    return torch_functional.leaky_relu(x, _SLOPE)


def _normalized(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + _EPS)
