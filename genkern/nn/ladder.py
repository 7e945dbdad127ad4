"""The networks of a hierarchical VAE to start from: residual blocks at every resolution, as VDVAE has them.

`genkern.nn.HierarchicalVAE` takes any two modules with the same methods.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as torch_functional

from genkern import _checks
from genkern.nn._condition import ClassTable
from genkern.nn._inputs import check_input, factory
from genkern.nn.likelihoods import DiscretizedLogisticMixtureLikelihood
from genkern.nn.networks import check_conditional, checked_image_shape

__all__ = ["LadderDecoder", "LadderEncoder", "LadderLevel", "ResidualBlock"]

_WIDEST_KERNEL_FROM = 3  # pixels a side; below, a 3 × 3 kernel has nothing around to see


class ResidualBlock(nn.Module):
    """Four convolutions through a bottleneck, 1 × 1, two of 3 × 3, 1 × 1, each behind a GELU (Child 2021, figure 3).

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of what comes in and goes out.
    middle : int
        Channels of the bottleneck.
    size : (height, width)
        Resolution; where a side has 1 or 2 pixels all kernels are 1 × 1.
    residual : bool
        Whether the input is added.
    scale : float
        Factor of the last convolution's initial weights: 0 begins with no part in what a residual block gives.
    device, dtype
        Device and type of the parameters.

    See Also
    --------
    LadderEncoder : is made of them

    Notes
    -----
    ``forward(x)``: ``[B, in_channels, height, width]`` → ``[B, out_channels, height, width]``.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import ResidualBlock
    >>> x = torch.rand(2, 8, 4, 4)
    >>> torch.equal(ResidualBlock(8, 8, 4, (4, 4), residual=True, scale=0.0)(x), x)
    True
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        middle: int,
        size: Sequence[int],
        *,
        residual: bool = False,
        scale: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        made = factory(device, dtype)
        in_channels, out_channels = (
            _checks.positive(name, value)
            for name, value in (("in_channels", in_channels), ("out_channels", out_channels))
        )
        middle = _checks.positive("middle", middle)
        self.shape = (in_channels, *_size(size))
        kernel = 3 if min(self.shape[1:]) >= _WIDEST_KERNEL_FROM else 1
        self.residual = _checks.boolean("residual", residual)
        if residual and in_channels != out_channels:
            raise ValueError(f"residual: expected False for {in_channels} channels in and {out_channels} out, got True")
        self.layers = nn.Sequential(
            nn.GELU(),
            nn.Conv2d(in_channels, middle, 1, **made),
            nn.GELU(),
            nn.Conv2d(middle, middle, kernel, padding=kernel // 2, **made),
            nn.GELU(),
            nn.Conv2d(middle, middle, kernel, padding=kernel // 2, **made),
            nn.GELU(),
            last := nn.Conv2d(middle, out_channels, 1, **made),
        )
        with torch.no_grad():
            last.weight *= _checks.number("scale", scale, minimum=0)
            last.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        check_input("x", x, self.shape, self)
        return x + self.layers(x) if self.residual else self.layers(x)

    def extra_repr(self) -> str:
        return f"residual={self.residual}"


class LadderEncoder(nn.Module):
    """Images to features at every resolution of a ladder, by residual blocks and average pooling.

    Parameters
    ----------
    image_shape : (channels, height, width)
        Shape of one image; any height, width and channel number.
    levels : sequence of int
        Levels of latents at each resolution, the coarsest first; the last is that of the image, each before it half as
        high and wide, rounded up.
    width : int
        Channels.
    depth : int
        Blocks at each resolution.
    num_classes : int, optional
        As `ConvEncoder`.
    device, dtype
        Device and type of the parameters.

    See Also
    --------
    LadderDecoder : the other side
    ResidualBlock : what it is made of

    Notes
    -----
    ``forward(x)``: `x` ``[B, channels, height, width]`` → a tuple of ``[B, width, h, w]``, the coarsest first.
    `condition`: labels ``[B]``, or vectors ``[B, num_classes]``.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import LadderEncoder
    >>> [tuple(f.shape[2:]) for f in LadderEncoder((1, 28, 28), (1, 2, 2), width=8)(torch.zeros(3, 1, 28, 28))]
    [(7, 7), (14, 14), (28, 28)]
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        levels: Sequence[int],
        *,
        width: int = 32,
        depth: int = 2,
        num_classes: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = checked_image_shape(image_shape)
        self.resolutions = _resolutions(self.image_shape, levels)
        width, depth = _checks.positive("width", width), _checks.positive("depth", depth)
        made = factory(device, dtype)
        scale = (depth * len(self.resolutions)) ** -0.5
        self.stem = nn.Conv2d(self.image_shape[0], width, 3, padding=1, **made)
        self.stages = nn.ModuleList(
            nn.Sequential(*(_block(width, width, size, made, residual=True, scale=scale) for _ in range(depth)))
            for size in reversed(self.resolutions)
        )
        self.takes_condition = num_classes is not None
        if num_classes is not None:
            self.classes = ClassTable(num_classes, width, made)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        check_input("x", x, self.image_shape, self)
        check_conditional(self, condition)
        h = self.stem(x)
        if condition is not None:
            h = h + self.classes(condition, h.shape[0])[..., None, None]
        features = []
        for size, stage in zip(reversed(self.resolutions), self.stages, strict=True):
            h = stage(torch_functional.adaptive_avg_pool2d(h, size) if h.shape[2:] != size else h)
            features.append(h)
        return tuple(features[::-1])


class LadderLevel(nn.Module):
    """A level of a ladder: what its latent is expected to be, inferred to be, and says.

    Parameters
    ----------
    size : (height, width)
        Resolution.
    group : int
        The one of the encoder's features that it sees.
    width, latent_channels : int
        Channels of the state and of the latent.
    scale : float
        Factor of the initial weights of what is added to the state.
    enters : bool
        Whether the state comes from a coarser resolution: it is enlarged, and a learned image added.
    device, dtype
        Device and type of the parameters.

    See Also
    --------
    LadderDecoder : holds them
    Level : what a level of your own must have

    Notes
    -----
    The prior begins at N(0, 1) where scales are logarithms, and a residual posterior at the prior.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import LadderLevel
    >>> level, h = LadderLevel((4, 4), 0, width=8, latent_channels=2), torch.rand(3, 8, 4, 4)
    >>> [tuple(part.shape) for part in level.prior(level.enter(h))]
    [(3, 2, 4, 4), (3, 2, 4, 4), (3, 8, 4, 4)]
    """

    def __init__(
        self,
        size: Sequence[int],
        group: int,
        *,
        width: int,
        latent_channels: int,
        scale: float = 1.0,
        enters: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.size = _size(size)
        self.group = _checks.integer("group", group, minimum=0)
        self.latent_channels = _checks.positive("latent_channels", latent_channels)
        self.latent_shape = (self.latent_channels, *self.size)
        self.width = _checks.positive("width", width)
        enters = _checks.boolean("enters", enters)
        scale = _checks.number("scale", scale, minimum=0)
        made = factory(device, dtype)
        of_prior, of_posterior = 2 * latent_channels + width, 2 * latent_channels
        self.of_prior = _block(width, of_prior, self.size, made, scale=0.0)
        self.of_posterior = _block(2 * width, of_posterior, self.size, made, scale=0.0)
        self.of_latent = nn.Conv2d(latent_channels, width, 1, **made)
        self.block = _block(width, width, self.size, made, residual=True, scale=scale)
        self.image = nn.Parameter(torch.zeros(width, *self.size, **made)) if enters else None
        with torch.no_grad():
            self.of_latent.weight *= scale

    def enter(self, h: Tensor) -> Tensor:
        _checks.tensor("h", h)
        if self.image is None:
            return h
        check_input("h", h, (self.width, *h.shape[2:]), self)
        if h.ndim != 4:
            raise ValueError(f"h: expected shape (B, {self.width}, h, w), got {_checks.shape_text(h.shape)}")
        return torch_functional.interpolate(h, size=self.size, mode="nearest") + self.image

    def prior(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        check_input("h", h, (self.width, *self.size), self)
        loc, scale, more = self.of_prior(h).split([self.latent_channels, self.latent_channels, self.width], dim=1)
        return loc, scale, h + more

    def posterior(self, h: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        for name, value in {"h": h, "features": features}.items():
            check_input(name, value, (self.width, *self.size), self)
        if features.shape[0] != h.shape[0]:
            raise ValueError(f"features: expected {len(h)} rows, as h has, got {len(features)}")
        loc, scale = self.of_posterior(torch.cat([h, features], dim=1)).chunk(2, dim=1)
        return loc, scale

    def merge(self, h: Tensor, z: Tensor) -> Tensor:
        check_input("h", h, (self.width, *self.size), self)
        check_input("z", z, self.latent_shape, self)
        if z.shape[0] != h.shape[0]:
            raise ValueError(f"z: expected {len(h)} rows, as h has, got {len(z)}")
        return self.block(h + self.of_latent(z))


class LadderDecoder(nn.Module):
    """The levels of a ladder from the top down, and the likelihood's parameters of the state below the last.

    Parameters
    ----------
    image_shape, levels, width, num_classes
        As `LadderEncoder`.
    latent_channels : int
        Channels of a level's latent.
    out_channels : int, optional
        Channels of the likelihood's parameters; by default those of a mixture of ten discretized logistics, which is
        `HierarchicalVAE`'s.
    device, dtype
        Device and type of the parameters.

    See Also
    --------
    LadderEncoder : the other side
    LadderLevel : what it is made of

    Notes
    -----
    ``start(num, condition=None)`` → the learned state at the top ``[num, width, h, w]``, with what it learns of the
    class; ``finish(h)`` → ``[B, out_channels, height, width]``.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import LadderDecoder
    >>> decoder = LadderDecoder((1, 28, 28), (1, 2, 2), width=8, latent_channels=4)
    >>> [level.latent_shape for level in decoder.levels][:2]
    [(4, 7, 7), (4, 14, 14)]
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        levels: Sequence[int],
        *,
        width: int = 32,
        latent_channels: int = 16,
        out_channels: int | None = None,
        num_classes: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.image_shape = checked_image_shape(image_shape)
        resolutions = _resolutions(self.image_shape, levels)
        width = _checks.positive("width", width)
        if out_channels is None:
            out_channels = DiscretizedLogisticMixtureLikelihood().param_channels(self.image_shape[0])
        out_channels = _checks.positive("out_channels", out_channels)
        made = factory(device, dtype)
        options: dict[str, Any] = {"width": width, "latent_channels": latent_channels, "scale": sum(levels) ** -0.5}
        self.levels = nn.ModuleList(
            LadderLevel(size, group, enters=group > 0 and index == 0, **options, **made)
            for group, (size, count) in enumerate(zip(resolutions, levels, strict=True))
            for index in range(count)
        )
        self.top = nn.Parameter(torch.zeros(width, *resolutions[0], **made))
        self.head = nn.Conv2d(width, out_channels, 3, padding=1, **made)
        self.takes_condition = num_classes is not None
        if num_classes is not None:
            self.classes = ClassTable(num_classes, width, made)

    def start(self, num: int, condition: Tensor | None = None) -> Tensor:
        num = _checks.integer("num", num, minimum=0)
        check_conditional(self, condition)
        h = self.top.expand(num, *self.top.shape)
        return h if condition is None else h + self.classes(condition, num)[..., None, None]

    def finish(self, h: Tensor) -> Tensor:
        _checks.tensor("h", h)
        check_input("h", h, (self.head.in_channels, *h.shape[2:]), self)
        if h.ndim != 4:
            raise ValueError(f"h: expected shape (B, {self.head.in_channels}, h, w), got {_checks.shape_text(h.shape)}")
        size = self.image_shape[1:]
        return self.head(torch_functional.interpolate(h, size=size, mode="nearest") if h.shape[2:] != size else h)


def _size(size: Sequence[int]) -> tuple[int, int]:
    checked = _checks.sizes("size", size, minimum=1)
    if len(checked) != 2:
        raise ValueError(f"size: expected (height, width), got {checked}")
    height, width = checked
    return height, width


def _block(width_in: int, width_out: int, size: Sequence[int], made: dict[str, Any], **options: Any) -> ResidualBlock:
    """A block whose bottleneck has a quarter of the channels of its input, as VDVAE's."""
    return ResidualBlock(width_in, width_out, max(1, width_in // 4), size, **options, **made)


def _resolutions(image_shape: tuple[int, int, int], levels: Sequence[int]) -> list[tuple[int, int]]:
    """Heights and widths from the coarsest to that of the image."""
    counts = _checks.sizes("levels", levels)
    if sum(counts) == 0:
        raise ValueError(f"levels: expected one or more levels, got {counts}")
    if counts[0] == 0:
        raise ValueError(f"levels: expected one or more at the coarsest resolution, got {counts}")
    sizes = [image_shape[1:]]
    while len(sizes) < len(counts):
        height, width = sizes[-1]
        if max(height, width) == 1:
            raise ValueError(f"levels: expected at most {len(sizes)} resolutions of such images, got {len(counts)}")
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes[::-1]
